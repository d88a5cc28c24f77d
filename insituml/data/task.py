"""A task: what a learner sees at one stretch, and what it is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import torch

Batch = tuple[torch.Tensor, ...]
"""The inputs, then labels or conditions where there are any; first dimension: samples."""


@dataclass(frozen=True)
class Task:
    """One stretch of a stream.

    Parameters
    ----------
    index
        Place in the stream, from 0.
    name
        What a figure calls it, such as ``"iterations 10-19"``.
    train, test
        Samples to learn from, and held-out samples that training never sees. Tensors may be
        backed by a memory-mapped file: indexing reads only what it needs.
    """

    index: int
    name: str
    train: Batch
    test: Batch


def joined(batch: Batch, more: Batch) -> Batch:
    """Return one batch of both, ``more`` at the end and taken to the first's device and dtype."""
    # From page-locked memory the copy to a device need not wait.
    return tuple(
        torch.cat([new, old.to(new, non_blocking=old.is_pinned())])
        for new, old in zip(batch, more, strict=True)
    )
