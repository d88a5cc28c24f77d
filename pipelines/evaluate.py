"""``python -m pipelines.evaluate``."""

from insituml_pipelines.evaluate import command

if __name__ == "__main__":
    command()
