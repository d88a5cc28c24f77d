"""A frozen copy of the learner, whose outputs and samples a method can ask for."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.learner import ContinualLearner


class Teacher:
    """A copy of a learner in ``eval`` mode and without gradients, buffers included.

    It starts empty; :meth:`copy_of` fills it.
    """

    def __init__(self) -> None:
        self.model: ContinualLearner | None = None

    def __bool__(self) -> bool:
        return self.model is not None

    def copy_of(self, learner: ContinualLearner) -> None:
        """Hold the learner as it is now; later steps do not change the copy."""
        # deepcopy refuses tensors that are part of a graph, such as what a pass left behind.
        left = [v for m in learner.modules() for v in vars(m).values() if isinstance(v, Tensor)]
        memo = {id(tensor): tensor.detach().clone() for tensor in left if not tensor.is_leaf}
        self.model = copy.deepcopy(learner, memo).eval().requires_grad_(False)

    def follow(self, learner: ContinualLearner) -> None:
        """Move to where the learner is now, each tensor by itself."""
        if self.model is not None:
            _move(self.model, learner)

    def move_towards(self, learner: ContinualLearner, share: float) -> None:
        """Move each parameter by a share of its distance to the learner's; copy the buffers."""
        model = self._held()
        with torch.no_grad():
            torch._foreach_lerp_(list(model.parameters()), list(learner.parameters()), share)
            if buffers := list(model.buffers()):
                torch._foreach_copy_(buffers, list(learner.buffers()))

    def output(self, batch: Batch) -> Tensor:
        """Return the copy's ``output(batch)``, without a graph."""
        with torch.no_grad():
            return self._held().output(batch)

    def sample(self, conditions: Batch, *, generator: torch.Generator) -> Tensor:
        """Return the copy's ``sample(conditions)``, without a graph."""
        with torch.no_grad():
            return self._held().sample(conditions, generator=generator)

    def state_dict(self) -> dict[str, Any] | None:
        """Return its weights and buffers; None where it is empty."""
        return None if self.model is None else dict(self.model.state_dict())

    def load_state_dict(self, state: dict[str, Any] | None, learner: ContinualLearner) -> None:
        """Restore :meth:`state_dict` into a copy of the learner, on its devices."""
        self.model = None
        if state is not None:
            self.copy_of(learner)
            self._held().load_state_dict(state)

    def _held(self) -> ContinualLearner:
        assert self.model is not None, "an empty teacher was asked; check bool(teacher) first"
        return self.model


def _move(copied: ContinualLearner, learner: ContinualLearner) -> None:
    pairs = [
        *zip(copied.parameters(), learner.parameters(), strict=True),
        *zip(copied.buffers(), learner.buffers(), strict=True),
    ]
    for mine, theirs in pairs:
        mine.data = mine.data.to(theirs.device)
