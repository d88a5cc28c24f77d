"""Continual learning on particle-in-cell field data, file by file or in transit."""

from insituml.checkpoint import load_checkpoint, save_checkpoint
from insituml.learner import ContinualLearner
from insituml.training import train
from insituml.verified_file import DamagedFileError
from insituml.version import __version__

__all__ = [
    "ContinualLearner",
    "DamagedFileError",
    "__version__",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]
