"""``python -m pipelines.versions``."""

from insituml_pipelines.versions import command

if __name__ == "__main__":
    command()
