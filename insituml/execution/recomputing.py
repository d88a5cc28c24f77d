"""Activation checkpointing: keep what goes into a block, and compute the rest of it twice."""

from __future__ import annotations

from typing import Any

from torch.utils.checkpoint import checkpoint

from insituml.execution.replaced import Replaced
from insituml.learner import ContinualLearner


class _Recomputed(Replaced):
    def trained(self, *inputs: Any, **options: Any) -> Any:
        return checkpoint(self.usual, *inputs, use_reentrant=False, **options)


def recompute_activations(learner: ContinualLearner) -> None:
    """Let each of a learner's segments keep its inputs alone until the backward pass.

    What it computed is computed again there: a step takes up to a third longer. Gradients are the
    same, draws of dropout included.

    Parameters
    ----------
    learner
        Changed in place.

    Raises
    ------
    ValueError
        If it names no segments.

    References
    ----------
    Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174.
    """
    segments = learner.segments()
    if not segments:
        raise ValueError(
            f"{type(learner).__name__} names no segments, whose activations could be computed "
            "again; let segments() return its blocks, or leave activation checkpointing off"
        )
    for segment in segments:
        _Recomputed(segment)
