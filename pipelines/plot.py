"""``python -m pipelines.plot``."""

from insituml_pipelines.plot import command

if __name__ == "__main__":
    command()
