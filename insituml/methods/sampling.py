"""Random parts of a task."""

from __future__ import annotations

import torch

from insituml.data.task import Batch


def draw(samples: Batch, count: int | None, *, generator: torch.Generator) -> Batch:
    """Return ``count`` of the samples at random, none twice; all of them in order for None."""
    if count is None:
        return samples
    rows = torch.randperm(len(samples[0]), generator=generator)[:count]
    return tuple(column[rows.to(column.device)] for column in samples)


def check_sample_count(name: str, count: int | None) -> None:
    """Raise a ValueError that names the option if ``count`` is below 1."""
    if count is not None and count < 1:
        raise ValueError(f"{name} is {count}; expected 1 or more, or null")
