"""Synaptic intelligence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Task
from insituml.gradients import QuadraticPenalty, gradients_of, trainable_parameters
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
    penalty; beside other methods (:class:`~insituml.methods.Combined`) theirs is part of it.
    """

    form = QuadraticPenalty

    def __init__(
        self, strength: float, damping: float = 0.1, *, generator: torch.Generator
    ) -> None:
        super().__init__(strength, generator=generator)
        if damping <= 0:
            raise ValueError(f"damping is {damping}; expected a small positive number, such as 0.1")
        self.damping = damping
        # During a task, by trainable parameter: the path integral, the weights at its start and
        # before the last step, and the gradient there.
        self._names: list[str] = []
        self._path: list[Tensor] = []
        self._start: list[Tensor] = []
        self._before: list[Tensor] = []
        self._gradients: list[Tensor] = []

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        self._names = [n for n, p in learner.named_parameters() if p.requires_grad]
        self._start = [p.detach().clone() for p in trainable_parameters(learner)]
        self._before = [p.clone() for p in self._start]
        self._path = [torch.zeros_like(p) for p in self._start]
        self._gradients = [torch.zeros_like(p) for p in self._start]

    def correct_gradients(self, learner: ContinualLearner) -> None:
        self._follow(learner)
        # Kept now: clipping changes the gradients in place before the step.
        torch._foreach_copy_(self._gradients, gradients_of(trainable_parameters(learner)))
        if self.anchor is not None:
            own = self.anchor.slopes(dict(learner.named_parameters()))
            held = [k for k, name in enumerate(self._names) if name in own]
            gradients = [self._gradients[k] for k in held]
            slopes = [own[self._names[k]] for k in held]
            torch._foreach_add_(gradients, slopes, alpha=-self.strength)

    @torch.no_grad()
    def _follow(self, learner: ContinualLearner) -> None:
        """Add the last step, with whatever other methods made of it."""
        parameters = [p.detach() for p in trainable_parameters(learner)]
        steps = torch._foreach_sub(parameters, self._before)
        torch._foreach_addcmul_(self._path, self._gradients, list(steps), value=-1.0)
        torch._foreach_copy_(self._before, parameters)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        self._follow(learner)
        parameters = dict(learner.named_parameters())
        importance = {
            name: path.clamp(min=0) / ((parameters[name].detach() - start).square() + self.damping)
            for name, path, start in zip(self._names, self._path, self._start, strict=True)
        }
        self.move_anchor(learner, importance)
        self._path, self._start, self._before, self._gradients = [], [], [], []

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
            [t.to(devices[n].device) for n, t in zip(self._names, state[key], strict=False)]
            for key in ("path", "start", "before", "gradients")
        )
