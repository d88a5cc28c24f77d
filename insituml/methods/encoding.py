"""What a learner makes of a task's samples, in evaluation mode and without a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.gradients import evaluation_mode
from insituml.learner import ContinualLearner, sample_losses
from insituml.memory import Memory

BATCH = 64
"""Samples per forward pass, as ``calculate_ref_gradients`` has by default."""


def encoded(learner: ContinualLearner, x: Tensor) -> Tensor:
    """Return the latents ``(n, latent_size)`` of inputs ``(n, ...)``."""
    return _rows(learner, (x,), lambda part: learner.encode(part[0]))


def features(learner: ContinualLearner, samples: Batch) -> Tensor:
    """Return the latents ``(n, d)`` of samples, or the outputs of a learner without encoder."""
    if type(learner).encode is not ContinualLearner.encode:
        return encoded(learner, samples[0])
    return _rows(learner, samples, lambda part: learner.output(part).flatten(1))


def losses(learner: ContinualLearner, samples: Batch, *, batched: bool = True) -> Tensor:
    """Return each sample's own loss, ``(n,)``; ``batched`` as in ``sample_losses``."""
    parts = _parts(learner, samples)
    return torch.cat([sample_losses(learner, part, batched=batched) for part in parts])


def follow(memory: Memory, before: ContinualLearner, now: ContinualLearner) -> None:
    """Give latents, a memory's first column, the place that their reconstructions have now.

    A basis that turned, or a component in other units, leaves an old latent meaning something else;
    ``z ← encode_now(decode_before(z))`` keeps what it stood for.
    """
    device = next(now.parameters()).device

    def moved(samples: Batch) -> Batch:
        again = now.encode(before.decode(samples[0].to(device)))
        return (again.to(samples[0]), *samples[1:])

    with evaluation_mode(before), evaluation_mode(now), torch.no_grad():
        for task in memory.counts():
            memory.revise(task, moved, BATCH)


def _rows(learner: ContinualLearner, samples: Batch, made: Callable[[Batch], Tensor]) -> Tensor:
    """Return what is made of samples, part by part; where none is at hand, no rows like it."""
    none = len(samples[0]) == 0
    if none:  # many learners reshape in ways that do not work on no sample
        samples = tuple(column.new_zeros(1, *column.shape[1:]) for column in samples)
    with evaluation_mode(learner), torch.no_grad():
        rows = torch.cat([made(part) for part in _parts(learner, samples)])
    return rows[:0] if none else rows


def _parts(learner: ContinualLearner, samples: Batch) -> Iterator[Batch]:
    device = next(learner.parameters()).device
    for parts in zip(*(column.split(BATCH) for column in samples), strict=True):
        yield tuple(part.to(device) for part in parts)
