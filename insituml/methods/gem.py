"""Gradient episodic memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.gradients import project_onto_cone
from insituml.memory import EpisodicMemory, Memory
from insituml.methods.gradient_projection import GradientProjection


class GEM(GradientProjection):
    """Take the gradient closest to the task's own that raises the loss of no past task.

    One constraint a past task, each from its stored samples: a step costs a gradient evaluation
    for each past task. :class:`~insituml.methods.AGEM` has one constraint for all of them.

    Parameters
    ----------
    memory_size, total_tasks, memory, batched
        As in :class:`~insituml.methods.AGEM`; a task of which nothing is stored any more gives no
        constraint.
    reference_size
        Samples of each past task drawn for its gradient; 0: all that it has.
    margin
        γ, 0 or more: where a constraint is violated, how far the gradient leans towards each past
        task beyond need.
    generator
        Chooses the samples stored and drawn.

    Raises
    ------
    ValueError
        If ``margin`` or ``reference_size`` is negative, and as in the memory.

    References
    ----------
    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017.
    """

    def __init__(
        self,
        memory_size: int | None,
        total_tasks: int | None = None,
        reference_size: int = 0,
        margin: float = 0.0,
        memory: Callable[..., Memory] = EpisodicMemory,
        batched: bool = True,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            memory_size,
            total_tasks,
            reference_size,
            memory=memory,
            batched=batched,
            generator=generator,
        )
        if margin < 0:
            raise ValueError(f"margin is {margin}; expected 0 or more")
        self.margin = margin

    def reference_data(self) -> Iterable[Batch]:
        for task in self.past_tasks():
            yield self.memory.sample(self.reference_size or None, of_task=task)

    def project(self, gradients: list[Tensor], references: list[list[Tensor]]) -> None:
        project_onto_cone(gradients, references, self.margin)
