"""Joint rows that go from the ranks that hold them to those that take them, and to no others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from insituml import ranks


def dealt(count: int) -> Tensor:
    """Return which rank has each of joint rows as all joint rows are dealt, ``(count,)``."""
    return torch.arange(count) % ranks.size()


def handed(columns: Sequence[Tensor], holders: Tensor, takers: Tensor) -> tuple[Tensor, ...]:
    """Return the joint rows that this rank takes, whoever holds them; all ranks call it.

    Parameters
    ----------
    columns
        The rows that this rank holds, ``(n, ...)``, in their joint order; where there are none, the
        shapes and dtypes all the same.
    holders, takers
        ``(joint rows,)``: which rank holds each, and which takes it; the same on all ranks.
    """
    if ranks.size() == 1 or torch.equal(holders, takers):
        return tuple(columns)
    here, count = ranks.rank(), ranks.size()
    goes_to, comes_from = takers[holders == here], holders[takers == here]
    order, arrival = (to.argsort(stable=True) for to in (goes_to, comes_from))
    sizes = [to.bincount(minlength=count) for to in (goes_to, comes_from)]
    return tuple(_handed(column, order, arrival, *sizes) for column in columns)


def _handed(column: Tensor, order: Tensor, arrival: Tensor, out: Tensor, into: Tensor) -> Tensor:
    """Send rows in the order of who takes them; put those that come, in that of who sent them."""
    leaving = column.detach().index_select(0, order.to(column.device))
    came = column.new_empty((len(arrival), *column.shape[1:]))
    row = column[:0].new_empty((1, *column.shape[1:])).nbytes
    if row:  # as bytes: exact for every dtype
        dist.all_to_all_single(
            came.flatten().view(torch.uint8),
            leaving.flatten().view(torch.uint8),
            (into * row).tolist(),
            (out * row).tolist(),
        )
    placed = torch.empty_like(came)
    placed[arrival.to(column.device)] = came
    return placed
