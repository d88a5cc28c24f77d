"""Synaptic intelligence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from insituml.data.task import Task
from insituml.gradients import QuadraticPenalty, as_real, old_part, wide
from insituml.learner import ContinualLearner
from insituml.methods.anchored import Anchored


class SynapticIntelligence(Anchored[QuadraticPenalty]):
    """Tie each parameter to its value after the last task, by what its path contributed so far.

    While a task is learned, ``ωᵢ = −∫ gᵢ dθᵢ`` adds up how much parameter i lowered the loss;
    after it, ``Ωᵢ ← Ωᵢ + max(ωᵢ, 0) / (Δᵢ² + damping)``, Δᵢ being how far the parameter moved
    during the task. The loss is ``L + strength/2 Σᵢ Ωᵢ (θᵢ − θ*ᵢ)²``. There is nothing to estimate
    after a task: the importance is a by-product of training.

    Parameters
    ----------
    strength
        Twice the c of the paper, 0 or more.
    damping
        ξ, above 0: bounds the importance of parameters that hardly moved.
    generator
        Not used; a method of the same interface as the others.

    Raises
    ------
    ValueError
        If ``strength`` is negative or ``damping`` not positive.

    References
    ----------
    Zenke, Poole & Ganguli, "Continual learning through synaptic intelligence", ICML 2017, eq. 3-5.

    Notes
    -----
    The path integral is a sum over steps of the gradient before the step times the step. g is the
    gradient that the optimizer is about to be given, before clipping, without this method's own
    penalty; beside other methods (:class:`~insituml.methods.Combined`) theirs is part of it. A
    parameter thawed or grown during a task starts its path there; a complex one counts as two real
    ones, whose importances add up.
    """

    form = QuadraticPenalty

    def __init__(
        self, strength: float, damping: float = 0.1, *, generator: torch.Generator
    ) -> None:
        super().__init__(strength, generator=generator)
        if damping <= 0:
            raise ValueError(f"damping is {damping}; expected a small positive number, such as 0.1")
        self.damping = damping
        # During a task, by parameter: the path integral, the weights at its start and before the
        # last step, and the gradient there; real, and of float32 at least.
        self._names: list[str] = []
        self._path: list[Tensor] = []
        self._start: list[Tensor] = []
        self._before: list[Tensor] = []
        self._gradients: list[Tensor] = []

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        super().begin_task(learner, task)
        self._names, self._path, self._start, self._before, self._gradients = [], [], [], [], []
        self._join(dict(learner.named_parameters()))

    def _join(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Begin the path of each trainable parameter that has none, or another shape."""
        places = {name: k for k, name in enumerate(self._names)}
        for name, parameter in parameters.items():
            place = places.get(name)
            if not parameter.requires_grad or (
                place is not None and self._start[place].shape == as_real(parameter).shape
            ):
                continue
            if place is not None:
                for kept in (self._names, self._path, self._start, self._before, self._gradients):
                    del kept[place]
                places = {name: k for k, name in enumerate(self._names)}
            start = wide(parameter.detach()).clone()
            self._names.append(name)
            self._start.append(start)
            self._before.append(start.clone())
            self._path.append(torch.zeros_like(start))
            self._gradients.append(torch.zeros_like(start))

    def correct_gradients(self, learner: ContinualLearner) -> None:
        super().correct_gradients(learner)
        parameters = dict(learner.named_parameters())
        self._follow(learner)
        self._join(parameters)
        # Kept now: clipping changes the gradients in place before the step. What has no gradient
        # does not move.
        gradients = []
        for name, kept in zip(self._names, self._gradients, strict=True):
            gradient = parameters[name].grad if name in parameters else None
            if gradient is None:
                gradients.append(torch.zeros_like(kept))
            else:
                gradients.append(wide(gradient.to_dense()))
        torch._foreach_copy_(self._gradients, gradients)
        if self.anchor is not None:
            own = self.anchor.slopes(parameters)
            held = [
                k
                for k, name in enumerate(self._names)
                if name in own and parameters[name].grad is not None
            ]
            if held:
                moving = [self._gradients[k] for k in held]
                slopes = [own[self._names[k]] for k in held]
                torch._foreach_add_(moving, slopes, alpha=-self.strength)

    @torch.no_grad()
    def _follow(self, learner: ContinualLearner) -> None:
        """Add the last step, with whatever other methods made of it."""
        parameters = dict(learner.named_parameters())
        places = [
            k
            for k, name in enumerate(self._names)
            if name in parameters and as_real(parameters[name]).shape == self._before[k].shape
        ]
        if not places:
            return
        now = [wide(parameters[self._names[k]].detach()) for k in places]
        before = [self._before[k] for k in places]
        steps = torch._foreach_sub(now, before)
        path, gradients = [self._path[k] for k in places], [self._gradients[k] for k in places]
        torch._foreach_addcmul_(path, gradients, list(steps), value=-1.0)
        torch._foreach_copy_(before, now)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        parameters = dict(learner.named_parameters())
        self._follow(learner)
        importance = {}
        for name, path, start in zip(self._names, self._path, self._start, strict=True):
            if name not in parameters:  # it is gone
                continue
            parameter = parameters[name]
            squares = (old_part(name, wide(parameter.detach()), start.shape) - start).square()
            if parameter.is_complex():
                path, squares = path.sum(-1), squares.sum(-1)
            importance[name] = path.clamp(min=0) / (squares + self.damping)
        self.watch_unused(importance)
        self.move_anchor(learner, importance)
        self._names, self._path, self._start, self._before, self._gradients = [], [], [], [], []

    def state_dict(self) -> dict[str, Any]:
        during_a_task = {
            "names": self._names,
            "path": self._path,
            "start": self._start,
            "before": self._before,
            "gradients": self._gradients,
        }
        return {**super().state_dict(), **during_a_task}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self._names = list(state["names"])
        devices = dict(learner.named_parameters())
        self._path, self._start, self._before, self._gradients = (
            [
                t.to(devices[n].device) if n in devices else t
                for n, t in zip(self._names, state[key], strict=True)
            ]
            for key in ("path", "start", "before", "gradients")
        )
