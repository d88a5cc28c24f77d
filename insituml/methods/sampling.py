"""How many samples a method draws."""

from __future__ import annotations

from insituml.data.task import Batch
from insituml.estimates import number_of


def draw_size(size: int | None, batch: Batch) -> int:
    """Return how many samples are drawn with a batch: as many as it has, for None."""
    return size or number_of(batch)


def check_sample_count(name: str, count: int | None) -> None:
    """Raise a ValueError that names the option if ``count`` is below 1."""
    if count is not None and count < 1:
        raise ValueError(f"{name} is {count}; expected 1 or more, or null")
