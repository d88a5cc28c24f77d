"""Learning without forgetting: distillation against the model of the last task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch, Task
from insituml.estimates import mean_over
from insituml.learner import ContinualLearner
from insituml.methods.base import Method
from insituml.methods.copying import check_copyable
from insituml.methods.distillation import output_distance
from insituml.methods.teacher import Teacher


class LwF(Method):
    """Keep the outputs on the current batch close to those of the model of the last task.

    The loss is ``L + strength · mean (f(x) − f_old(x))²``, where f is ``learner.output``. No
    sample is stored. Beside a method that replays, the replayed samples are distilled too. Where
    the learner has more outputs than the model of the last task had, the first ones are compared.

    Parameters
    ----------
    strength
        Weight of the mean squared difference, 0 or more.
    generator
        Not used: nothing is random.

    Raises
    ------
    ValueError
        If ``strength`` is negative; at the first task, if the learner cannot be copied; later, if
        its outputs have another shape than before, but for outputs added at the end.

    References
    ----------
    Li & Hoiem, "Learning without forgetting", ECCV 2016; for regression the distance of outputs
    takes the place of the distilled cross-entropy.
    """

    needs_output = True

    def __init__(self, strength: float, *, generator: torch.Generator) -> None:
        super().__init__(generator=generator)
        if strength < 0:
            raise ValueError(f"strength is {strength}; expected 0 or more")
        self.strength = strength
        self.teacher = Teacher()

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        if self.teacher:
            self.teacher.follow(learner)
        else:
            check_copyable(learner)

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if not self.teacher:
            return None

        def moved(batch: Batch) -> Tensor:
            return output_distance(output, self.teacher.output(batch), learner)

        return self.strength * mean_over(batch, moved)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        self.teacher.copy_of(learner)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.teacher.load_state_dict(state["teacher"], learner)
