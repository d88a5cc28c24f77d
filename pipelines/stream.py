"""``python -m pipelines.stream``."""

from insituml_pipelines.stream import command

if __name__ == "__main__":
    command()
