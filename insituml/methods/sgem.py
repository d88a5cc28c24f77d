"""Stochastic gradient episodic memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from insituml.data.task import Batch
from insituml.methods.agem import AGEM


class SGEM(AGEM):
    """Project against the gradient on one past task, chosen at random at every step.

    Parameters as in :class:`~insituml.methods.gradient_projection.GradientProjection`.

    References
    ----------
    Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019, section 4 (stochastic
    GEM).
    """

    def reference_data(self) -> Iterable[Batch]:
        if tasks := self.past_tasks():
            chosen = tasks[int(torch.randint(len(tasks), (), generator=self.generator))]
            yield self.memory.sample(self.reference_size or None, of_task=chosen)
