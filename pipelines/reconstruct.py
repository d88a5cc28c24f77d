"""``python -m pipelines.reconstruct``."""

from insituml_pipelines.reconstruct import command

if __name__ == "__main__":
    command()
