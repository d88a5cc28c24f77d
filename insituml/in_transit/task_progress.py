"""How far learning a task in transit has come, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch

from insituml.learner import ContinualLearner
from insituml.records import EpochRecord
from insituml.training import seeded


@dataclass
class TaskProgress:
    """Of the current task; plain values."""

    name: str = ""
    arrivals: int = 0
    """How many times samples have come."""
    first_step: int = 0
    """Steps of the optimizer before it."""
    seconds: float = 0.0
    """That were worked on it."""
    mean_loss: float = float("nan")
    """Of what was trained on last."""

    @contextmanager
    def working(
        self, learner: ContinualLearner, generator: torch.Generator, steps: int
    ) -> Iterator[None]:
        """Time it, and let what it draws from torch's global generators follow the seed."""
        started = time.perf_counter()
        with seeded(generator.initial_seed(), steps, learner):
            yield
        self.seconds += time.perf_counter() - started

    def record(self, task: int, steps: int, losses: tuple[float, ...]) -> EpochRecord:
        """Return what is reported of losses, ``steps`` being those of the optimizer before."""
        self.mean_loss = sum(losses) / len(losses)
        return EpochRecord(task, self.arrivals - 1, self.arrivals, steps, losses)

    def next(self, name: str, steps: int) -> Self:
        """Return that of another task, which has yet to begin."""
        return type(self)(name, first_step=steps, mean_loss=self.mean_loss)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, state: dict[str, Any]) -> Self:
        """Return what :meth:`state_dict` returned, of whatever else stands beside it."""
        return cls(**{field.name: state[field.name] for field in fields(cls)})
