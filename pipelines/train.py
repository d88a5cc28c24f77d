"""``python -m pipelines.train``."""

from insituml_pipelines.train import command

if __name__ == "__main__":
    command()
