"""``python -m pipelines.new_experiment``."""

from insituml_pipelines.new_experiment import command

if __name__ == "__main__":
    command()
