"""The samples of each step, dealt out to ranks: each reads its own and no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch, Task, sent
from insituml.learner import ContinualLearner
from insituml.optimisation import parts
from insituml.trainable import normalises_batches


def dealt_batches(
    samples: Batch,
    count: int,
    size: int,
    generator: torch.Generator,
    learner: ContinualLearner,
    mix: IterationMixing | None,
) -> Iterator[tuple[Batch, Batch]]:
    """Index ``count`` of the samples, shuffled, out of tensors: ``size`` of them for each step.

    Yield this rank's of them, and what is trained on in their place. Of a memory-mapped tensor,
    only these rows and those that they are mixed with are read.
    """
    device = next(learner.parameters()).device

    def read(column: Tensor, rows: Tensor) -> Tensor:
        # index_select copies whole rows: several times as fast as column[rows] for large samples.
        return sent(column.index_select(0, rows.to(column.device)), device)

    def inputs(rows: Tensor) -> Tensor:
        return read(samples[0], rows[ranks.share()])

    # To the samples' device once an epoch, not once a step: each such copy waits.
    order = torch.randperm(len(samples[0]), generator=generator).to(samples[0].device)[:count]
    for rows in order.split(parts(count, size, join_lone=normalises_batches(learner))):
        own = rows[ranks.share()]
        batch = trained_on = tuple(read(column, own) for column in samples)
        if mix is not None:
            trained_on = mix.randomly(batch, rows, len(samples[0]), inputs, generator=generator)
        yield batch, trained_on


def own_part(task: Task) -> Task:
    """Return a task with this rank's samples of it, for hooks that look at them."""
    if ranks.size() == 1:
        return task
    return replace(task, train=tuple(column[ranks.share()] for column in task.train))
