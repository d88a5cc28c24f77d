"""The models that benchmarks measure with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from insituml.learner import ContinualLearner
from insituml.models import MLP, AutoEncoder2D, AutoEncoder3D


@dataclass(frozen=True)
class Model:
    """A model at the size that its experiment in conf/ gives it."""

    build: Callable[..., ContinualLearner]
    shape: tuple[int, ...]
    batch_size: int


MODELS = {
    "MLP": Model(partial(MLP, 2, (128, 128), 1), (2,), 64),
    "AutoEncoder2D": Model(partial(AutoEncoder2D, (1, 8, 8), (16, 32), 12), (1, 8, 8), 16),
    "AutoEncoder3D": Model(partial(AutoEncoder3D, (3, 12, 32, 12)), (3, 12, 32, 12), 8),
}
