"""What methods share that tie parameters to where the past tasks left them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.gradients import QuadraticPenalty
from insituml.learner import ContinualLearner
from insituml.methods.base import Method


class Anchored(Method):
    """Abstract: add ``strength/2 Σᵢ Fᵢ (θᵢ − θ*ᵢ)²``; a subclass sets :attr:`anchor` after tasks.

    Parameters
    ----------
    strength
        λ, 0 or more.
    generator
        Source of all randomness of the method.

    Raises
    ------
    ValueError
        If ``strength`` is negative.
    """

    def __init__(self, strength: float, *, generator: torch.Generator) -> None:
        super().__init__(generator=generator)
        if strength < 0:
            raise ValueError(f"strength is {strength}; expected 0 or more")
        self.strength = strength
        self.anchor: QuadraticPenalty | None = None
        """Importances and anchors of the past tasks; None during the first."""

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if self.anchor is None:
            return None
        return self.strength * self.anchor.value(dict(learner.named_parameters()))

    def state_dict(self) -> dict[str, Any]:
        anchor = self.anchor.state_dict() if self.anchor is not None else None
        return {**super().state_dict(), "anchor": anchor}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.anchor = None
        if state["anchor"] is not None:
            parameters = dict(learner.named_parameters())
            self.anchor = QuadraticPenalty.from_state_dict(state["anchor"], parameters)
