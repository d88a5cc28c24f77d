"""Weight averaging: a slowly moving average of the weights as teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch, Task
from insituml.estimates import mean_over
from insituml.gradients import old_part, wide_copy
from insituml.learner import ContinualLearner
from insituml.methods.base import Method
from insituml.methods.distillation import output_distance
from insituml.methods.teacher import Teacher


class WeightAveraging(Method):
    """Keep the outputs close to those of an exponential moving average of the weights.

    After step t = 1, 2, ... the average moves by ``θ̄ ← d θ̄ + (1 − d) θ`` with
    ``d = min(decay, (1 + t) / (10 + t))``, and copies the learner's buffers. The smaller decay at
    the start lets it leave the random initial weights. From the second task on the loss is
    ``L + strength · mean (f(x) − f̄(x))²``, where f is ``learner.output``.

    Parameters
    ----------
    decay
        Share of the average that each step keeps, in [0, 1).
    strength
        Weight of the mean squared difference, 0 or more; 0 only averages.
    adopt
        Give the learner the averaged weights at the end of each task.
    generator
        Not used: nothing is random.

    Notes
    -----
    Half-precision weights are averaged in float32: steps below their rounding would be lost. A
    parameter that has grown since the last task keeps the average of its old entries, which come
    first; what is new starts where the learner is.

    Raises
    ------
    ValueError
        If ``decay`` or ``strength`` is outside its range.

    References
    ----------
    Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017; Arani et al.,
    "Learning fast, learning slow" (CLS-ER), ICLR 2022, for continual learning.
    """

    def __init__(
        self,
        decay: float = 0.999,
        strength: float = 1.0,
        adopt: bool = False,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay is {decay}; expected 0 or more and below 1")
        if strength < 0:
            raise ValueError(f"strength is {strength}; expected 0 or more")
        self.decay = decay
        self.strength = strength
        self.adopt = adopt
        self.needs_output = strength > 0
        self.average = Teacher()
        self.steps = 0
        self.task = 0

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        self.task = task.index
        if self.average and self._fits(learner):
            self.average.follow(learner)
        else:
            self._start(learner)

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if not self.needs_output or self.task == 0:  # in the first there is nothing to remember
            return None

        def moved(batch: Batch) -> Tensor:
            with self._in_own_digits(learner):
                averaged = self.average.output(batch)
            return output_distance(output, averaged, learner)

        return self.strength * mean_over(batch, moved)

    def after_step(self, learner: ContinualLearner) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.average.move_towards(learner, 1.0 - decay)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        if self.adopt and self.average.model is not None:
            learner.load_state_dict(self.average.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        own = {"average": self.average.state_dict(), "steps": self.steps, "task": self.task}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.steps, self.task = state["steps"], state["task"]
        kept, shapes = state["average"], {n: t.shape for n, t in learner.state_dict().items()}
        if kept is not None and {n: t.shape for n, t in kept.items()} != shapes:
            self.average.copy_of(learner)  # it has grown since
        else:
            self.average.load_state_dict(kept, learner)
        if self.average.model is not None:
            self._take(kept)

    def _fits(self, learner: ContinualLearner) -> bool:
        held = self.average.model
        assert held is not None
        names = dict(held.named_parameters())
        now = dict(learner.named_parameters())
        return names.keys() == now.keys() and all(names[n].shape == p.shape for n, p in now.items())

    @torch.no_grad()
    def _start(self, learner: ContinualLearner) -> None:
        """Average from here on; what was averaged already goes on."""
        before: dict[str, Tensor] = {}
        if self.average.model is not None:
            before |= self.average.model.named_parameters()
        self.average.copy_of(learner)
        self._take(before)

    @torch.no_grad()
    def _take(self, average: Mapping[str, Tensor]) -> None:
        """Take what was averaged already, by name."""
        assert self.average.model is not None
        for name, parameter in self.average.model.named_parameters():
            parameter.data = wide_copy(parameter)
            if name in average:
                kept = average[name].to(parameter)
                old_part(name, parameter, kept.shape).copy_(kept)

    @contextmanager
    def _in_own_digits(self, learner: ContinualLearner) -> Iterator[None]:
        """Lend the average to the learner's own type, in which its outputs are computed."""
        model = self.average.model
        assert model is not None
        pairs = list(zip(model.parameters(), learner.parameters(), strict=True))
        lent = [(mine, mine.data, p.dtype) for mine, p in pairs if mine.dtype != p.dtype]
        for mine, data, kind in lent:
            mine.data = data.to(kind)
        try:
            yield
        finally:
            for mine, data, _ in lent:
                mine.data = data
