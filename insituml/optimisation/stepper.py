"""One step of the optimizer on a batch: what training from files and in transit share."""

from __future__ import annotations

import torch
from torch import Tensor

from insituml.data.task import Batch, Task
from insituml.learner import ContinualLearner
from insituml.methods.base import Method
from insituml.optimisation.averaged_weights import AveragedWeights
from insituml.optimisation.learning_rate import LearningRate
from insituml.optimisation.schedule import CONSTANT, Schedule
from insituml.trainable import check_loss


class Stepper:
    """Takes steps of an optimizer, each on one batch.

    Parameters
    ----------
    learner, method, optimizer
        Changed in place.
    max_gradient_norm
        Clip the gradient to this Euclidean norm, after the method's correction; None: do not.
    schedule
        Of the learning rate.
    average
        Told of the weights after each step; None: nobody is.
    done
        Steps that a resumed run has behind it.
    """

    def __init__(
        self,
        learner: ContinualLearner,
        method: Method,
        optimizer: torch.optim.Optimizer,
        *,
        max_gradient_norm: float | None = None,
        schedule: Schedule = CONSTANT,
        average: AveragedWeights | None = None,
        done: int = 0,
    ) -> None:
        self.learner = learner
        self.method = method
        self.optimizer = optimizer
        self.max_gradient_norm = max_gradient_norm
        self.average = average
        self.rate = LearningRate(optimizer, schedule, done=done)

    def take(self, batch: Batch, *, advance: bool = True) -> Tensor:
        """Take a step; return the loss before it, a scalar without its graph.

        Parameters
        ----------
        batch
            Columns ``(n, ...)`` on the learner's device.
        advance
            Whether the schedule goes on with this step, or stands still.
        """
        if not self.method.learns_by_gradient:
            with torch.no_grad():
                return self.method.loss(self.learner, batch).reshape(())
        if advance:
            self.rate.advance()
        self.optimizer.zero_grad(set_to_none=True)
        loss = check_loss(self.method.loss(self.learner, batch), self.learner)
        loss.backward()
        self.method.correct_gradients(self.learner)
        if self.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.learner.parameters(), self.max_gradient_norm)
        self.optimizer.step()
        self.method.after_step(self.learner)
        if self.average is not None:
            self.average.update(self.learner)
        return loss.detach()

    def end_task(self, task: Task) -> None:
        """Let the method end a task; weights that it sets are taken over by the average."""
        if self.average is None:
            self.method.end_task(self.learner, task)
            return
        with self.average.begun_anew_where_changed(self.learner):
            self.method.end_task(self.learner, task)
