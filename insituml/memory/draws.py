"""Random draws of rows, from generators that memories have of their own."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_without_replacement(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Return ``min(size, count)`` distinct numbers below ``count``, uniformly at random."""
    return torch.randperm(count, generator=generator)[:size]


def own_generator(generator: torch.Generator | None) -> torch.Generator:
    """Return the generator, or a new one with seed 0."""
    return generator if generator is not None else torch.Generator().manual_seed(0)
