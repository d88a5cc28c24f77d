"""Random parts of a task."""

from __future__ import annotations

import torch

from insituml import ranks
from insituml.data.task import Batch


def draw(samples: Batch, count: int | None, *, generator: torch.Generator) -> Batch:
    """Return ``count`` of the samples at random, none twice; all of them in order for None.

    On several ranks each is given those of its own.
    """
    if count is None:
        return samples
    rows = torch.randperm(ranks.total(len(samples[0])), generator=generator)[:count]
    rows = rows[ranks.owned(rows)] // ranks.size()
    return tuple(column[rows.to(column.device)] for column in samples)


def draw_size(size: int | None, batch: Batch) -> int:
    """Return how many samples are drawn with a batch: as many as it has, for None."""
    return size or ranks.total(len(batch[0]))


def check_sample_count(name: str, count: int | None) -> None:
    """Raise a ValueError that names the option if ``count`` is below 1."""
    if count is not None and count < 1:
        raise ValueError(f"{name} is {count}; expected 1 or more, or null")
