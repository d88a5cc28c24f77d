"""Gradient episodic memory."""

from __future__ import annotations

from typing import Any

import torch

from insituml.data.task import Batch, Task
from insituml.gradients import (
    gradients_of,
    project_onto_cone,
    reference_gradient,
    trainable_parameters,
)
from insituml.learner import ContinualLearner
from insituml.memory import EpisodicMemory
from insituml.methods.base import Method


class GEM(Method):
    """Take the gradient closest to the task's own that raises the loss of no past task.

    One constraint a past task, each from its stored samples: a step costs a gradient evaluation
    for each past task. :class:`~insituml.methods.AGEM` has one constraint for all of them.

    Parameters
    ----------
    memory_size
        Samples stored in all.
    total_tasks
        Tasks that share the memory; a further one evicts the oldest.
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
        If ``margin`` or ``reference_size`` is negative, and as in
        :class:`~insituml.memory.EpisodicMemory`.

    References
    ----------
    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017.
    """

    def __init__(
        self,
        memory_size: int,
        total_tasks: int,
        reference_size: int = 0,
        margin: float = 0.0,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        if margin < 0:
            raise ValueError(f"margin is {margin}; expected 0 or more")
        self.memory = EpisodicMemory(memory_size, total_tasks, reference_size, generator=generator)
        self.margin = margin

    def correct_gradients(self, learner: ContinualLearner) -> None:
        if len(self.memory) == 0:
            return
        parameters = trainable_parameters(learner)
        device = parameters[0].device
        references = []
        for task in self.memory.counts():
            samples: Batch = tuple(t.to(device) for t in self.memory.reference_of(task))
            references.append(reference_gradient(learner.loss, parameters, [samples])[1])
        project_onto_cone(gradients_of(parameters), references, self.margin)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        self.memory.store_task(task.train)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "memory": self.memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.memory.load_state_dict(state["memory"])
