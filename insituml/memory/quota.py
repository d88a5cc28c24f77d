"""Quota memory: an equal share for each task, a reservoir within each."""

from __future__ import annotations

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.task import Batch
from insituml.memory.draws import draw_without_replacement
from insituml.memory.equal_shares import EqualShares
from insituml.memory.reservoir import reservoir_slots


class QuotaMemory(EqualShares):
    """Equal shares for all tasks seen so far; within a task, a uniform sample of its own.

    Balanced where a reservoir is not: a task ten times as long has no more rows than another.
    With labels in place of task numbers it is balanced by class. Tasks may come back at any time.

    Parameters as in :class:`~insituml.memory.rows.RowMemory`; shares as in
    :class:`~insituml.memory.equal_shares.EqualShares`.

    References
    ----------
    Vitter, "Random sampling with a reservoir", ACM TOMS 1985, algorithm R, for each task.
    """

    def add(self, samples: Batch, task: int, losses: Tensor | None = None) -> None:
        share, count = self._share_of(task, samples), ranks.total(len(samples[0]))
        sharer = self._sharer(task)
        slots, chosen = reservoir_slots(self._seen[sharer], count, share, self.generator)
        self._seen[sharer] += count
        rows = self._rows_of_sharer(sharer)
        new = min(self._seen[sharer], share) - len(rows)
        rows = torch.cat([rows, torch.arange(len(self), len(self) + new)])
        self._write(rows[slots], samples, chosen, task)

    def _shortened(self, rows: Tensor, share: int) -> Tensor:
        # A uniform sample of a uniform sample is one again.
        return rows[draw_without_replacement(len(rows), share, self.generator).sort().values]
