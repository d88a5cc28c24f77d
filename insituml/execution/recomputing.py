"""Activation checkpointing: keep what goes into a block, and compute the rest of it twice."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from insituml.execution.replaced import Replaced
from insituml.learner import ContinualLearner


class _Recomputed(Replaced):
    def trained(self, *inputs: Any, **options: Any) -> Any:
        return checkpoint(self.usual, *inputs, use_reentrant=False, **options)


def recompute_activations(learner: ContinualLearner) -> None:
    """Let each of a learner's segments keep its inputs alone until the backward pass.

    What it computed is computed again there: a step takes up to a third longer. Gradients are the
    same, draws of dropout and all else from torch's global generator included.

    Parameters
    ----------
    learner
        Changed in place.

    Raises
    ------
    ValueError
        If it names no segments, or one that keeps statistics of its batches.

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
        _check_stateless(segment)
    for segment in segments:
        _Recomputed(segment)


def _check_stateless(segment: nn.Module) -> None:
    """Refuse what counts each batch twice, once in each pass: its statistics would be others."""
    for part in segment.modules():
        if isinstance(part, _NormBase) and part.track_running_stats:
            raise ValueError(
                f"a segment of type {type(segment).__name__} has a {type(part).__name__}, whose "
                "running statistics would take each batch twice; use layer or group "
                "normalisation, leave it out of segments(), or activation checkpointing off"
            )
