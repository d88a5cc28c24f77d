"""``python -m pipelines.generate``."""

from insituml_pipelines.generate import command

if __name__ == "__main__":
    command()
