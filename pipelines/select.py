"""``python -m pipelines.select``."""

from insituml_pipelines.select import command

if __name__ == "__main__":
    command()
