"""What methods share that tie parameters to where the past tasks left them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from insituml.data.task import Batch, Task
from insituml.estimates import union
from insituml.gradients import parameter_uses
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

    Notes
    -----
    A parameter that the loss of a batch does not use is not moved by the penalty either: its
    gradient stays None. One that has grown is held in its old entries, which come first; one that
    is gone is not held; one that is new is free.
    """

    ties_parameters = True

    form: type[P]
    """The penalty: :class:`~insituml.gradients.QuadraticPenalty`, or one with its functions."""

    def __init__(self, strength: float, *, generator: torch.Generator) -> None:
        super().__init__(generator=generator)
        if strength < 0:
            raise ValueError(f"strength is {strength}; expected 0 or more")
        self.strength = strength
        self.anchor: P | None = None
        """Importances and anchors of the past tasks; None during the first."""
        self._known: list[str] | None = None  # parameters of the last task
        self._some_unused = False
        self._used: set[int] = set()  # by the losses of a step, as far as their graphs tell
        self._opaque = False  # whether one of them may use others unseen

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        names = [name for name, _ in learner.named_parameters()]
        if self._known is not None and names != self._known:
            self._some_unused = True  # there may be heads for tasks, of which one is used
        self._known = names

    def note_use(self, value: Tensor) -> None:
        # Where all parameters are always used, as they mostly are, nothing is looked up.
        if self.anchor is not None and self._some_unused:
            uses, opaque = parameter_uses([value])
            self._used |= uses.keys()
            self._opaque = self._opaque or opaque

    def spare_unused(self, learner: ContinualLearner) -> None:
        if self.anchor is None or not self._some_unused:
            return
        parameters = dict(learner.named_parameters())
        used = union({n for n, p in parameters.items() if self._opaque or id(p) in self._used})
        for name, parameter in parameters.items():
            if used and name not in used:  # none: no loss was looked at
                parameter.grad = None
        self._used, self._opaque = set(), False

    def correct_gradients(self, learner: ContinualLearner) -> None:
        self.spare_unused(learner)

    def watch_unused(self, importance: Mapping[str, Tensor]) -> None:
        """Remember whether a task left parameters unused, so that later ones are watched."""
        if not self._some_unused and importance:
            used = torch.stack([value.any().cpu() for value in importance.values()])
            self._some_unused = not bool(used.all())

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if self.anchor is None or self.strength == 0:
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
        own = {"anchor": anchor, "known": self._known, "some_unused": self._some_unused}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self._known, self._some_unused = state.get("known"), state.get("some_unused", False)
        self.anchor = None
        if state["anchor"] is not None:
            parameters = dict(learner.named_parameters())
            self.anchor = self.form.from_state_dict(state["anchor"], parameters)
