"""Reservoir memory: a uniform sample of everything seen, without knowing how much will come."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.task import Batch
from insituml.memory.rows import RowMemory


class ReservoirMemory(RowMemory):
    """After n samples, each of them is stored with probability ``capacity / n``.

    Parameters as in :class:`~insituml.memory.rows.RowMemory`.

    References
    ----------
    Vitter, "Random sampling with a reservoir", ACM TOMS 1985, algorithm R.
    """

    def __init__(self, capacity: int | None = None, **options: Any) -> None:
        super().__init__(capacity, **options)
        self.samples_seen = 0

    def add(self, samples: Batch, task: int, losses: Tensor | None = None) -> None:
        capacity, count = self._allocate(samples), ranks.total(len(samples[0]))
        rows, chosen = reservoir_slots(self.samples_seen, count, capacity, self.generator)
        self._write(rows, samples, chosen, task)
        self.samples_seen += count

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "samples_seen": self.samples_seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.samples_seen = state["samples_seen"]


def reservoir_slots(
    seen: int, count: int, slots: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Say where algorithm R puts the next samples of a stream.

    Parameters
    ----------
    seen
        Samples that came before.
    count
        Samples that come now.
    slots
        Size of the reservoir.

    Returns
    -------
    tuple
        The slots that change, ascending and each once, and the sample that each one gets; both
        ``(m,)`` with ``m <= count``.
    """
    # Sample number t goes to a slot drawn from 0..t, if there is such a slot; while the
    # reservoir fills up, to slot t itself.
    number = torch.arange(seen, seen + count)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    slot = (uniform * (number + 1)).long()
    filling = max(0, slots - seen)
    slot[:filling] = number[:filling]
    chosen = (slot < slots).nonzero().flatten()
    ordered, order = slot[chosen].sort(stable=True)
    # Of several samples for one slot the last wins.
    is_last = torch.ones_like(ordered, dtype=torch.bool)
    is_last[:-1] = ordered[1:] != ordered[:-1]
    return ordered[is_last], chosen[order[is_last]]
