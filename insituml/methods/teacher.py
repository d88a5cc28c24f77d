"""A frozen copy of the learner, whose outputs and samples a method can ask for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.learner import ContinualLearner
from insituml.methods.copying import copied


class Teacher:
    """A copy of a learner in ``eval`` mode and without gradients, buffers included.

    It starts empty; :meth:`copy_of` fills it.
    """

    def __init__(self) -> None:
        self.model: ContinualLearner | None = None

    def __bool__(self) -> bool:
        return self.model is not None

    def copy_of(self, learner: ContinualLearner) -> None:
        """Hold the learner as it is now; later steps do not change the copy.

        Raises
        ------
        ValueError
            If the learner cannot be copied.
        """
        self.model = copied(learner).eval().requires_grad_(False)

    def follow(self, learner: ContinualLearner) -> None:
        """Move to where the learner is now, each tensor by itself."""
        if self.model is not None:
            _move(self.model, learner)

    def move_towards(self, learner: ContinualLearner, share: float) -> None:
        """Move each parameter by a share of its distance to the learner's; copy the buffers."""
        model = self._held()
        with torch.no_grad():
            # Mine may be of more digits than the learner's.
            mine: list[Tensor] = list(model.parameters())
            theirs = [p.to(m.dtype) for m, p in zip(mine, learner.parameters(), strict=True)]
            torch._foreach_lerp_(mine, theirs, share)
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


def _move(model: ContinualLearner, learner: ContinualLearner) -> None:
    # By name: parts of the learner may have come or gone since it was copied.
    named = {**dict(learner.named_parameters()), **dict(learner.named_buffers())}
    elsewhere = next(learner.parameters()).device
    for name, mine in [*model.named_parameters(), *model.named_buffers()]:
        mine.data = mine.data.to(named[name].device if name in named else elsewhere)
