"""``python -m pipelines.produce``."""

from insituml_pipelines.produce import command

if __name__ == "__main__":
    command()
