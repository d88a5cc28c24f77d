"""Continual learning on particle-in-cell field data, file by file or in transit.

The names below are loaded when they are first used: importing torch takes seconds, which a
command's ``--help`` need not wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml.lazy_names import loader
from insituml.version import __version__

if TYPE_CHECKING:
    from insituml.archive.latents import FieldLatents, decode_field, encode_field
    from insituml.checkpoint import load_checkpoint, save_checkpoint
    from insituml.learner import ContinualLearner
    from insituml.training import train
    from insituml.verified_file import DamagedFileError

__all__ = [
    "ContinualLearner",
    "DamagedFileError",
    "FieldLatents",
    "__version__",
    "decode_field",
    "encode_field",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]

_MODULES = {
    "ContinualLearner": "insituml.learner",
    "DamagedFileError": "insituml.verified_file",
    "FieldLatents": "insituml.archive",
    "decode_field": "insituml.archive",
    "encode_field": "insituml.archive",
    "load_checkpoint": "insituml.checkpoint",
    "save_checkpoint": "insituml.checkpoint",
    "train": "insituml.training",
}

__getattr__ = loader(__name__, _MODULES)
