"""A memory that several simulations share equally, with a reservoir of each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.memory.places import Places
from insituml.memory.quota import QuotaMemory

SEVERAL = -1
"""Stands for samples of several simulations together, which share among themselves."""


class SimulationMemory(QuotaMemory):
    """Equal shares for all simulations seen so far; within one, a uniform sample of all it sent.

    One that sends ten times as much as another has no more rows. One bound, in samples or bytes,
    holds for all together. The task of each sample is known as in other memories.

    :meth:`of_simulation` says whose samples are offered next; who trains on an ensemble calls it.

    Parameters as in :class:`~insituml.memory.rows.RowMemory`; shares as in
    :class:`~insituml.memory.equal_shares.EqualShares`, in the order in which simulations came.
    """

    row_overhead = 16

    def __init__(self, capacity: int | None = None, **options: Any) -> None:
        super().__init__(capacity, **options)
        self.simulation = SEVERAL
        """Whose samples come next."""
        self._simulation_of_row = torch.empty(0, dtype=torch.int64)

    def simulations(self) -> Tensor:
        """Return the simulation of every stored sample, ``(n,)``, in the order of :meth:`all`."""
        return self._simulation_of_row[: len(self)].clone()

    def of_simulation(self, simulation: int) -> None:
        self.simulation = simulation

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "simulation_of_row": self._simulation_of_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._simulation_of_row = state["simulation_of_row"].clone()

    def _sharer(self, task: int) -> int:
        return self.simulation

    def _rows_of_sharer(self, sharer: int) -> Tensor:
        return (self._simulation_of_row[: len(self)] == sharer).nonzero().flatten()

    def _allocate(self, samples: Batch) -> int:
        capacity = super()._allocate(samples)
        if len(self._simulation_of_row) == 0:
            self._simulation_of_row = torch.full((capacity,), SEVERAL, dtype=torch.int64)
        return capacity

    def _write(self, rows: Places, samples: Batch, chosen: Places, task: int) -> None:
        super()._write(rows, samples, chosen, task)
        self._simulation_of_row[rows] = self.simulation

    def _keep(self, rows: Tensor) -> None:
        self._simulation_of_row[: len(rows)] = self._simulation_of_row[rows]
        super()._keep(rows)
