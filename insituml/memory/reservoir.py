"""Reservoir memory: a uniform sample of everything seen, without knowing how much will come."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.memory.storage import SampleStorage, draw_without_replacement, own_generator


class ReservoirMemory:
    """After n samples, each of them is stored with probability ``capacity / n``.

    Parameters
    ----------
    capacity
        Samples stored at most.
    generator
        Chooses which samples are kept and drawn; None: its own, with seed 0.

    Raises
    ------
    ValueError
        If ``capacity`` is below 1.

    References
    ----------
    Vitter, "Random sampling with a reservoir", ACM TOMS 1985, algorithm R.
    """

    def __init__(self, capacity: int, *, generator: torch.Generator | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; expected 1 sample or more")
        self.capacity = capacity
        self.generator = own_generator(generator)
        self.samples_seen = 0
        self._storage = SampleStorage(capacity)
        self._task_of_row = torch.full((capacity,), -1, dtype=torch.int64)

    def add(self, samples: Batch, task: int) -> None:
        """Offer samples of a task to the memory, in order."""
        count = len(samples[0])
        seen = self.samples_seen + torch.arange(count)
        # Algorithm R: sample number t goes to a row drawn from 0..t, if there is such a row;
        # while the memory fills up, to row t itself.
        drawn = (
            torch.rand(count, generator=self.generator, dtype=torch.float64) * (seen + 1)
        ).long()
        rows = torch.where(seen < self.capacity, seen, drawn)
        # Of two samples for one row the later wins: keep the last of each row only.
        winner = dict(zip(rows.tolist(), range(count), strict=True))
        kept = {row: sample for row, sample in winner.items() if row < self.capacity}
        self.samples_seen += count
        if kept:
            rows, chosen = torch.tensor(list(kept)), torch.tensor(list(kept.values()))
            self._storage.write(rows, tuple(t[chosen.to(t.device)] for t in samples))
            self._task_of_row[rows] = task

    def __len__(self) -> int:
        """Return the number of samples stored."""
        return min(self.samples_seen, self.capacity)

    def counts(self) -> dict[int, int]:
        """Return how many stored samples each task has."""
        tasks, counts = self._task_of_row[: len(self)].unique(return_counts=True)
        return dict(zip(tasks.tolist(), counts.tolist(), strict=True))

    def sample(self, size: int) -> Batch:
        """Draw from the whole memory without replacement: ``min(size, len(self))`` samples."""
        return self._storage.read(draw_without_replacement(len(self), size, self.generator))

    def all(self) -> tuple[Batch, Tensor]:
        """Return every stored sample and the task each is of."""
        rows = torch.arange(len(self))
        return self._storage.read(rows), self._task_of_row[rows].clone()

    def state_dict(self) -> dict[str, Any]:
        return {
            "storage": self._storage.state_dict(),
            "task_of_row": self._task_of_row,
            "samples_seen": self.samples_seen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._storage.load_state_dict(state["storage"])
        self._task_of_row = state["task_of_row"].clone()
        self.samples_seen = state["samples_seen"]
