"""Herding memory: the samples that stand best for the mean of their task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from insituml import rank_rows, ranks
from insituml.data.task import Batch
from insituml.memory.equal_shares import EqualShares


def herd(features: Tensor, count: int) -> Tensor:
    """Choose samples one after the other so that the mean of the chosen stays near that of all.

    Parameters
    ----------
    features
        ``(n, d)``.
    count
        How many to choose, at most n.

    Returns
    -------
    Tensor
        ``(count,)``: distinct places in the order chosen; the k-th one minimises
        ``‖mean(φ) − (φ(x) + Σ φ(chosen before)) / k‖``.

    References
    ----------
    Welling, "Herding dynamical weights to learn", ICML 2009. Rebuffi et al., "iCaRL", CVPR 2017,
    algorithm 4.
    """
    # With the mean moved to 0, ‖φ(x) + s‖² = ‖φ(x)‖² + 2⟨φ(x), s⟩ + ‖s‖², s being the sum so far.
    centred = features - features.mean(dim=0)
    distances = centred.square().sum(dim=1)
    total = torch.zeros_like(centred[0])
    chosen = []
    for _ in range(count):
        best = (distances + 2 * (centred @ total)).argmin().view(1)
        chosen.append(best)
        total += centred.index_select(0, best)[0]
        distances.index_fill_(0, best, float("inf"))
    return torch.cat(chosen) if chosen else torch.empty(0, dtype=torch.int64)


def nearest(features: Tensor, count: int) -> Tensor:
    """Choose the ``count`` samples whose features are nearest to the mean, nearest first."""
    distances = (features - features.mean(dim=0)).square().sum(dim=1)
    return distances.argsort(stable=True)[:count]


SELECTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {"herding": herd, "nearest": nearest}


class HerdingMemory(EqualShares):
    """At the end of each task, keep the samples whose features stand for the task's mean.

    Equal shares for all tasks so far. The best samples come first, so that a task which must give
    rows away keeps what would have been chosen for the smaller share.

    Parameters
    ----------
    capacity
        Samples stored at most.
    selection
        ``"herding"``: the mean of the chosen is near the mean of all (:func:`herd`).
        ``"nearest"``: each by itself is near it (:func:`nearest`).
    **options
        Further parameters of :class:`~insituml.memory.rows.RowMemory`.

    Raises
    ------
    ValueError
        If ``selection`` is unknown, and as in :class:`~insituml.memory.rows.RowMemory`.
    """

    needs_features = True

    def __init__(
        self,
        capacity: int | None = None,
        *,
        selection: Literal["herding", "nearest"] = "herding",
        **options: Any,
    ) -> None:
        super().__init__(capacity, **options)
        if selection not in SELECTIONS:
            raise ValueError(f"selection is {selection!r}; expected one of {', '.join(SELECTIONS)}")
        self.selection = selection

    def finish_task(self, samples: Batch, task: int, features: Tensor | None = None) -> None:
        count = ranks.total(len(samples[0]))
        if features is not None:
            (features,) = rank_rows.everywhere((features,))
        if features is None or len(features) != count:
            arrived = None if features is None else tuple(features.shape)
            raise ValueError(f"features are {arrived} for {count} samples; expected one row each")
        if task in self._seen:
            raise ValueError(f"task {task} was finished before; expected each task once")
        share = self._share_of(task, samples)
        self._seen[task] = count
        # Half precision would not tell samples near the mean apart.
        rows = features.detach().reshape(count, math.prod(features.shape[1:]))
        rows = rows.float() if rows.element_size() < 4 else rows
        chosen = SELECTIONS[self.selection](rows, min(share, count)).cpu()
        self._write(len(self) + torch.arange(len(chosen)), samples, chosen, task)

    def _shortened(self, rows: Tensor, share: int) -> Tensor:
        return rows[:share]
