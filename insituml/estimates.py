"""What is estimated from samples: their number, means, sums, the largest, and random draws.

A method has samples at hand, such as those of a batch, and means all of them. In one process these
are the same, and each function here does plainly what its name says. Where several processes train
one learner (:mod:`insituml.ranks`), each has a part of the samples at hand, perhaps none, and is
given the estimate from all of them. So all call these functions in the same order, never in a
branch that depends on the samples at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from insituml import rank_rows, ranks

Samples = tuple[Tensor, ...]
"""Columns ``(n, ...)``, n being the number at hand."""

Found = TypeVar("Found")


def number_of(samples: Samples) -> int:
    """Return how many samples there are."""
    return ranks.total(len(samples[0]))


def numbers_of(samples: Samples) -> Tensor:
    """Return the number of each sample among all of them, from 0: ``(n,)``, on the CPU."""
    return torch.arange(number_of(samples))[ranks.share()]


def mean_over(samples: Samples, mean: Callable[[Samples], Tensor]) -> Tensor:
    """Return a mean over samples, such as that of their losses, with its gradient.

    Parameters
    ----------
    samples
        On the learner's device.
    mean
        ``mean(samples) -> scalar``, over those at hand; not called where there are none.
    """
    count = len(samples[0])
    own = mean(samples) if count or ranks.size() == 1 else None
    return ranks.joint_mean(own, count, samples[0].device)


def sums_over(
    samples: Samples, sums: Callable[[Samples], Sequence[Tensor]], terms: int
) -> tuple[Tensor, ...]:
    """Return sums over samples, with their gradients.

    Parameters
    ----------
    samples
        On the learner's device.
    sums
        ``sums(samples) -> scalars``, over those at hand; not called where there are none.
    terms
        How many these are.
    """
    own = sums(samples) if len(samples[0]) or ranks.size() == 1 else None
    return ranks.joint_sums(own, terms, samples[0].device)


def draw(samples: Samples, count: int | None, *, generator: torch.Generator) -> Samples:
    """Return ``count`` of the samples at random, none twice; all of them in order for None."""
    if count is None:
        return samples
    rows = torch.randperm(number_of(samples), generator=generator)[:count]
    rows = rows[ranks.owned(rows)] // ranks.size()
    return tuple(column[rows.to(column.device)] for column in samples)


def largest(values: Tensor, count: int) -> Tensor:
    """Return which of the values ``(n,)``, one a sample, are among the ``count`` largest of all.

    Their places, the largest value's first.
    """
    own = values.topk(min(count, len(values)))
    if ranks.size() == 1:
        return own.indices
    # A row for each part of the samples, whose largest come first.
    table = torch.zeros(ranks.size(), count, dtype=torch.float64, device=values.device)
    table[ranks.rank()] = -torch.inf
    table[ranks.rank(), : len(own.values)] = own.values.double()
    ranks.add_up([table])
    best = table.flatten().topk(count).indices
    places = best[best // count == ranks.rank()] % count
    return own.indices[places[places < len(own.values)]]


def union(found: set[Found]) -> set[Found]:
    """Return all that was found on some of the samples, such as names."""
    return set[Found]().union(*ranks.gathered_objects(found))


def all_columns(matrices: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return matrices ``(features, columns)`` of float64 with the columns of all samples.

    Parameters
    ----------
    matrices
        By name; one that no sample at hand has a column for may be left out.
    device
        Where they lie.
    """
    if ranks.size() == 1:
        return dict(matrices)
    heights = {name: len(matrix) for name, matrix in matrices.items()}
    known = {n: height for each in ranks.gathered_objects(heights) for n, height in each.items()}
    joint = {}
    for name, height in known.items():
        none = torch.zeros(height, 0, dtype=torch.float64, device=device)
        joint[name] = rank_rows.stacked(matrices.get(name, none).mT.contiguous()).mT
    return joint
