"""The errors of a learner on samples: mean over them, as it will be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.task import Batch
from insituml.gradients import evaluation_mode
from insituml.learner import ContinualLearner

Errors = Callable[[ContinualLearner, Batch], dict[str, Tensor]]
"""``errors(learner, batch) -> {metric: (n,)}``, one number a sample."""


def own_errors(learner: ContinualLearner, batch: Batch) -> dict[str, Tensor]:
    """Return what the learner itself says it is judged by."""
    return learner.errors(batch)


def mean_errors(
    learner: ContinualLearner,
    samples: Batch,
    *,
    errors: Errors = own_errors,
    batch_size: int = 256,
) -> dict[str, float]:
    """Return the mean over samples of each error, in evaluation mode, the main one first."""
    totals: dict[str, float] = {}
    with evaluation_mode(learner), torch.no_grad():
        for batch in batches_of(learner, samples, batch_size):
            for metric, values in errors(learner, batch).items():
                totals[metric] = totals.get(metric, 0.0) + float(values.sum(dtype=torch.float64))
    return {metric: total / len(samples[0]) for metric, total in totals.items()}


def typical_error(learner: ContinualLearner, parts: Sequence[Batch]) -> float:
    """Return the main error of parts such as tasks, averaged so that each counts alike.

    Errors of tasks differ by orders of magnitude, with the power of what is in them and with how
    far it is from anything trained on; a plain mean tells of the largest one alone. So it is the
    geometric mean, in which halving any part's error is worth the same; where an error is 0 or
    negative, as a likelihood's may be, the plain mean.
    """
    values = _main_errors(learner, parts)
    if all(0 < value < math.inf for value in values):
        return math.exp(math.fsum(map(math.log, values)) / len(values))
    return sum(values) / len(values)


def _main_errors(learner: ContinualLearner, parts: Sequence[Batch]) -> list[float]:
    """Return the main error of each part; of several ranks, each looks at its share of them."""
    if ranks.size() == 1:
        return [next(iter(mean_errors(learner, part).values())) for part in parts]
    values = torch.zeros(len(parts), dtype=torch.float64)
    for k, part in enumerate(parts):
        own = tuple(column[ranks.share()] for column in part)
        if len(own[0]):
            values[k] = next(iter(mean_errors(learner, own).values())) * len(own[0])
        values[k] /= len(part[0])
    ranks.add_up([values])
    return values.tolist()


def batches_of(learner: ContinualLearner, samples: Batch, batch_size: int) -> Iterator[Batch]:
    """Yield samples batch by batch, on the learner's device."""
    device = next(learner.parameters()).device
    for columns in zip(*(column.split(batch_size) for column in samples), strict=True):
        yield tuple(column.to(device) for column in columns)
