"""What methods share that tie parameters to where the past tasks left them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.learner import ContinualLearner
from insituml.methods.base import Method


class Penalty(Protocol):
    """What ties parameters to an anchor: a value, and how it moves from task to task."""

    @classmethod
    def at_anchor(cls, importance: Any, parameters: Mapping[str, Tensor], /) -> Self: ...
    def with_moved_anchor(
        self, importance: Any, parameters: Mapping[str, Tensor], gamma: float, /
    ) -> Self: ...
    def value(self, parameters: Mapping[str, Tensor], /) -> Tensor: ...
    def state_dict(self) -> dict[str, Any]: ...
    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Any], parameters: Mapping[str, Tensor], /
    ) -> Self: ...


P = TypeVar("P", bound=Penalty)


class Anchored(Method, Generic[P]):
    """Abstract: add ``strength`` times a penalty; a subclass says what is important, after tasks.

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

    form: type[P]
    """The penalty: :class:`~insituml.gradients.QuadraticPenalty`, or one with its functions."""

    def __init__(self, strength: float, *, generator: torch.Generator) -> None:
        super().__init__(generator=generator)
        if strength < 0:
            raise ValueError(f"strength is {strength}; expected 0 or more")
        self.strength = strength
        self.anchor: P | None = None
        """Importances and anchors of the past tasks; None during the first."""

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if self.anchor is None:
            return None
        return self.strength * self.anchor.value(dict(learner.named_parameters()))

    def move_anchor(self, learner: ContinualLearner, importance: Any, gamma: float = 1.0) -> None:
        """Anchor the parameters where they are; γ times what held them goes on to count."""
        parameters = dict(learner.named_parameters())
        if self.anchor is None:
            self.anchor = self.form.at_anchor(importance, parameters)
        else:
            self.anchor = self.anchor.with_moved_anchor(importance, parameters, gamma)

    def state_dict(self) -> dict[str, Any]:
        anchor = self.anchor.state_dict() if self.anchor is not None else None
        return {**super().state_dict(), "anchor": anchor}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.anchor = None
        if state["anchor"] is not None:
            parameters = dict(learner.named_parameters())
            self.anchor = self.form.from_state_dict(state["anchor"], parameters)
