"""Joint rows, such as those of a memory, that go from the ranks that hold them to others."""

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
    """Return the joint rows that this rank takes, whoever holds them, sent to no other rank.

    All ranks call it.

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


def exchanged(
    columns: Sequence[Tensor], held: Tensor, count: int, wanted: Tensor
) -> tuple[Tensor, ...]:
    """Return the wanted ones of joint rows, wherever they are held.

    Parameters
    ----------
    columns
        This rank's rows, ``(n, ...)``; where there are none, the shapes and dtypes all the same.
    held
        ``(n,)``, which of the joint rows they are. Each is held by one rank.
    count
        Number of joint rows.
    wanted
        ``(m,)``, which of them this rank is given, in this order.
    """
    if ranks.size() == 1:
        places = torch.empty(count, dtype=torch.int64)
        places[held] = torch.arange(len(held))
        return tuple(c.index_select(0, places[wanted].to(c.device)) for c in columns)
    return tuple(_exchanged(column, held, count, wanted) for column in columns)


def everywhere(columns: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return all joint rows, of which each rank has its own."""
    if ranks.size() == 1:
        return tuple(columns)
    count = ranks.total(len(columns[0]))
    rows = torch.arange(count)
    return exchanged(columns, rows[ranks.share()], count, rows)


def _exchanged(column: Tensor, held: Tensor, count: int, wanted: Tensor) -> Tensor:
    """Add up rows that are zero but where they are held, as bytes: exact for every dtype."""
    column = column.detach()
    row = max(1, column[:0].new_empty((1, *column.shape[1:])).nbytes)
    step = max(1, ranks.BUCKET // row)
    result = column.new_empty((len(wanted), *column.shape[1:]))
    for first in range(0, count, step):
        part = column.new_zeros((min(step, count - first), *column.shape[1:]))
        inside = ((held >= first) & (held < first + step)).nonzero().flatten()
        rows = (held[inside] - first).to(column.device)
        part.index_copy_(0, rows, column.index_select(0, inside.to(column.device)))
        if part.numel():
            dist.all_reduce(part.flatten().view(torch.uint8))
        asked = ((wanted >= first) & (wanted < first + step)).nonzero().flatten()
        rows = (wanted[asked] - first).to(column.device)
        result.index_copy_(0, asked.to(column.device), part.index_select(0, rows))
    return result


def stacked(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, one rank's after the other's; their numbers may differ."""
    if ranks.size() == 1:
        return rows
    counts = ranks.gathered_objects(len(rows))
    first, count = sum(counts[: ranks.rank()]), sum(counts)
    mine = torch.arange(first, first + len(rows))
    return exchanged((rows,), mine, count, torch.arange(count))[0]
