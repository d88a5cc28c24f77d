"""Memories of samples as they are, each in a row of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from insituml import rank_rows, ranks
from insituml.data.task import Batch
from insituml.memory.base import Memory
from insituml.memory.places import Places
from insituml.memory.storage import SampleStorage


class RowMemory(Memory):
    """Abstract: samples in rows that are allocated once; on several ranks, each has its share.

    Parameters
    ----------
    capacity
        Samples stored at most.
    capacity_bytes
        In its place, bytes at most, everything kept for each sample included; the first samples
        show how many these are.
    dtype, device, pin
        How samples are stored; see :class:`~insituml.memory.storage.SampleStorage`.
    total_tasks
        Tasks that will come, where this is known. Only :class:`~insituml.memory.EpisodicMemory`,
        whose shares are fixed, makes use of it.
    generator
        Chooses which samples are stored and drawn; None: its own, with seed 0.

    Raises
    ------
    ValueError
        As in :class:`~insituml.memory.storage.SampleStorage`.
    """

    def __init__(
        self,
        capacity: int | None = None,
        *,
        capacity_bytes: int | None = None,
        dtype: str | None = None,
        device: str | None = None,
        pin: bool = False,
        total_tasks: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator=generator)
        self._storage = SampleStorage(
            capacity,
            capacity_bytes=capacity_bytes,
            dtype=dtype,
            device=device,
            pin=pin,
            row_overhead=self.row_overhead,
        )

    @property
    def capacity(self) -> int | None:
        """Samples stored at most; None as long as bytes have not become samples."""
        return self._storage.capacity

    def revise(self, task: int, revised: Callable[[Batch], Batch], batch_size: int = 256) -> None:
        rows = self._rows_of(task)
        rows = rows[self.owned(rows)] // ranks.size()
        for part in rows.split(batch_size) if len(rows) else ():
            self._storage.write(part, revised(self._storage.read(part)))

    def owned(self, rows: Tensor) -> Tensor:
        return ranks.owned(rows)

    def state_dict(self) -> dict[str, Any]:
        return {
            "storage": self._storage.state_dict(),
            "task_of_row": self._task_of_row,
            "filled": self._filled,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._storage.load_state_dict(state["storage"])
        self._task_of_row = state["task_of_row"].clone()
        self._filled = state["filled"]

    def _read(self, rows: Places) -> Batch:
        return self._storage.read(rows if isinstance(rows, slice) else rows // ranks.size())

    def _allocate(self, samples: Batch) -> int:
        capacity = self._storage.allocate(samples)
        if len(self._task_of_row) == 0:
            self._task_of_row = torch.full((capacity,), -1, dtype=torch.int64)
        return capacity

    def _write(self, rows: Places, samples: Batch, chosen: Places, task: int) -> None:
        """Store the chosen samples in ascending rows; new rows follow those in use."""
        if ranks.size() > 1:
            self._write_own(_as_numbers(rows), samples, _as_numbers(chosen))
        else:
            self._storage.write(rows, samples, chosen)
        self._task_of_row[rows] = task
        if isinstance(rows, slice):
            self._filled = max(self._filled, rows.stop)
        elif len(rows):
            self._filled = max(self._filled, int(rows[-1]) + 1)

    def _keep(self, rows: Tensor) -> None:
        """Forget all rows but these, which come to the front in this order."""
        if ranks.size() > 1:
            held, now = ranks.owned(rows), torch.arange(len(rows))[ranks.share()]
            self._storage.exchange(
                rows[held] // ranks.size(), held.nonzero().flatten(), len(rows), now
            )
        else:
            self._storage.keep(rows)
        self._task_of_row[: len(rows)] = self._task_of_row[rows]
        self._filled = len(rows)

    def _write_own(self, rows: Tensor, samples: Batch, chosen: Tensor) -> None:
        """Hand each sample chosen to the rank whose row it is for."""
        held, own = ranks.owned(chosen), ranks.owned(rows)
        places = chosen[held] // ranks.size()
        ready = self._storage.checked(samples)
        mine = tuple(column.index_select(0, places.to(column.device)) for column in ready)
        given = rank_rows.exchanged(
            mine, held.nonzero().flatten(), len(rows), own.nonzero().flatten()
        )
        self._storage.write(rows[own] // ranks.size(), given)


def _as_numbers(places: Places) -> Tensor:
    return torch.arange(places.start, places.stop) if isinstance(places, slice) else places
