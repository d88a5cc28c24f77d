"""How the arithmetic of a training step is done: for samples that are large, and on GPUs."""

from insituml.execution.options import Execution

__all__ = ["Execution"]
