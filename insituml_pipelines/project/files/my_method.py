"""A method of your own: `method=my_method` chooses it; its values: conf/method/my_method.yaml."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml import ContinualLearner
from insituml.data.task import Batch, Task
from insituml.methods.base import Method


class MyMethod(Method):
    """L2 regularisation towards the weights after the last task: ``strength/2 ‖θ − θ*‖²``.

    The hooks of a method are those of :class:`insituml.methods.base.Method`, called in the order in
    which they stand there; a method overrides the few that it needs.

    Parameters
    ----------
    strength
        Weight of the penalty beside the learner's loss.
    generator
        Source of a method's randomness; this one has none.
    """

    def __init__(self, strength: float, *, generator: torch.Generator) -> None:
        super().__init__(generator=generator)
        self.strength = strength
        self.anchor: dict[str, Tensor] = {}

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        """Return what is added to the learner's loss, a scalar; None in the first task."""
        if not self.anchor:
            return None
        parameters = dict(learner.named_parameters())
        distances = [(parameters[name] - at).square().sum() for name, at in self.anchor.items()]
        return 0.5 * self.strength * torch.stack(distances).sum()

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        """Keep the weights."""
        self.anchor = {name: p.detach().clone() for name, p in learner.named_parameters()}

    # A resumed run equals an uninterrupted one: all that it needs is here.

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "anchor": self.anchor}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.anchor = dict(state["anchor"])
