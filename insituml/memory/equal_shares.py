"""What memories with an equal share for each task have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.memory.rows import RowMemory


class EqualShares(RowMemory):
    """Abstract: tasks share the capacity equally; how many there will be need not be known.

    Each further task takes an equal part from those before it. Shares differ by one sample at
    most, and the earlier tasks have the larger ones; when there are more tasks than rows, the
    last have none. What a task with few samples leaves of its share stays free.

    Parameters as in :class:`~insituml.memory.rows.RowMemory`.
    """

    def __init__(self, capacity: int | None = None, **options: Any) -> None:
        super().__init__(capacity, **options)
        self._seen: dict[int, int] = {}  # samples of each task, tasks in order of arrival

    def _shortened(self, rows: Tensor, share: int) -> Tensor:
        """Return ``share`` of a task's rows, those that stay when others need room."""
        raise NotImplementedError

    def _share_of(self, task: int, samples: Batch) -> int:
        """Return how many rows a task may have; a new task first takes its part from the others."""
        capacity, sharer = self._allocate(samples), self._sharer(task)
        if sharer not in self._seen:
            self._seen[sharer] = 0
            shares = equal_shares(capacity, len(self._seen))
            kept = []
            for earlier, share in zip(self._seen, shares, strict=True):
                rows = self._rows_of_sharer(earlier)
                kept.append(rows if len(rows) <= share else self._shortened(rows, share))
            remaining = torch.cat(kept)
            if len(remaining) < len(self):
                self._keep(remaining)
        return equal_shares(capacity, len(self._seen))[list(self._seen).index(sharer)]

    def _sharer(self, task: int) -> int:
        """Return who has a share: here, the task of the samples that are offered."""
        return task

    def _rows_of_sharer(self, sharer: int) -> Tensor:
        """Return which rows lie in a share, in order."""
        return self._rows_of(sharer)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": [[t, count] for t, count in self._seen.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._seen = dict(state["seen"])


def equal_shares(capacity: int, tasks: int) -> list[int]:
    """Return ``⌈(capacity − k) / tasks⌉`` for task k: they fill the capacity, and never grow."""
    return [max(0, -((k - capacity) // tasks)) for k in range(tasks)]
