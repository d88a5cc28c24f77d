"""Ring memory: the most recent samples."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from insituml import ranks
from insituml.data.task import Batch
from insituml.memory.rows import RowMemory


class RingMemory(RowMemory):
    """Holds the last ``capacity`` samples of the stream: first in, first out.

    Parameters as in :class:`~insituml.memory.rows.RowMemory`.
    """

    def __init__(self, capacity: int | None = None, **options: Any) -> None:
        super().__init__(capacity, **options)
        self.samples_seen = 0

    def add(self, samples: Batch, task: int, losses: Tensor | None = None) -> None:
        capacity, count = self._allocate(samples), ranks.total(len(samples[0]))
        skipped = max(0, count - capacity)
        first = (self.samples_seen + skipped) % capacity
        wrapped = max(0, first + count - skipped - capacity)  # samples that begin a new round
        split = count - wrapped
        self._write(slice(first, first + split - skipped), samples, slice(skipped, split), task)
        if wrapped:
            self._write(slice(0, wrapped), samples, slice(split, count), task)
        self.samples_seen += count

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "samples_seen": self.samples_seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.samples_seen = state["samples_seen"]
