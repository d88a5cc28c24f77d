"""``python -m pipelines.split``."""

from insituml_pipelines.split import command

if __name__ == "__main__":
    command()
