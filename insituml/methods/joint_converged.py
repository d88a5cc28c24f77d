"""Joint training until a validation part stops improving: the bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from insituml.data.task import Batch, Task
from insituml.learner import ContinualLearner
from insituml.mean_errors import typical_error
from insituml.methods.base import AS_PLANNED, NextEpoch
from insituml.methods.cumulative import Cumulative
from insituml.methods.joint import Joint


class JointConverged(Joint):
    """Train one model on all tasks at once until it no longer gets better on data it never sees.

    After each epoch the error on the validation parts is taken, of all tasks by
    :func:`~insituml.mean_errors.typical_error`, in which each counts alike. Where it has not
    improved for ``patience`` steps, training goes back to the best weights so far, with the
    learning rate times ``decay``; after ``decays`` of these it ends.
    A stage at one rate is what a killed run goes back to: the stages are dealt out over as many
    segments as there are tasks, each followed by a checkpoint of the best weights so far. The
    segments that are left over when training has ended change nothing.

    Parameters
    ----------
    patience
        Steps of the optimizer without improvement that end a stage: whatever the size of the data,
        since how long an error may stand still does not depend on it.
    fewest_epochs
        Without improvement, all the same.
    min_improvement
        Share of the error by which it must fall to count as improved.
    decay
        What the learning rate is multiplied by after each stage.
    decays
        How many times.
    cumulative_start
        Begin as cumulative training does, a task more at a time, and with all tasks together only
        when the last one has come: where the order of the tasks leads to better weights than all
        of them at once, a bound must begin so. All stages are then in the last segment.
    max_epochs
        Over all tasks at most; where that many ended it, :attr:`note` says so.
    generator
        As of every method; nothing is drawn from it.

    Raises
    ------
    ValueError
        If a number is out of its range, or no task has a validation part.
    """

    converges = True
    keeps_to_budget = False

    def __init__(
        self,
        patience: int = 2000,
        fewest_epochs: int = 5,
        min_improvement: float = 0.005,
        decay: float = 0.3,
        decays: int = 3,
        max_epochs: int = 2000,
        cumulative_start: bool = False,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        if min(patience, fewest_epochs, max_epochs) < 1 or decays < 0:
            raise ValueError(
                f"patience is {patience}, fewest_epochs {fewest_epochs}, max_epochs {max_epochs} "
                f"and decays {decays}; expected 1 or more, and 0 or more decays"
            )
        if not 0 < decay < 1 or not 0 <= min_improvement < 1:
            raise ValueError(
                f"decay is {decay} and min_improvement {min_improvement}; expected factors below 1"
            )
        self.patience = patience
        self.fewest_epochs = fewest_epochs
        self.min_improvement = min_improvement
        self.decay = decay
        self.stages = decays + 1
        self.max_epochs = max_epochs
        self.cumulative_start = cumulative_start
        self.epochs = 0
        self.stage = 0
        self._stale = 0  # epochs, and steps, since the last improvement
        self._stale_steps = 0
        self._best: dict[str, Any] = {}
        self._best_error = float("inf")
        self._to_beat = float("inf")
        self._validation: list[Batch] = []
        self._segments = 1

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to train."""
        return self.stage >= self.stages or self.epochs >= self.max_epochs

    @property
    def note(self) -> str:
        if self.epochs >= self.max_epochs and self.stage < self.stages:
            return (
                f"not converged: max_epochs={self.max_epochs} ended it in stage {self.stage + 1} "
                f"of {self.stages}"
            )
        return ""

    def schedule(self, tasks: Sequence[Task], epochs: int) -> Iterator[tuple[Task, int]]:
        self._validation = [task.validation for task in tasks if task.validation]
        if not self._validation:
            raise ValueError(
                "joint_converged ends by a validation part and no task has one; set "
                "data.split.validation to a part of each task, such as 0.1, and split again"
            )
        self._segments = len(tasks)
        if self.cumulative_start:
            start = Cumulative(generator=self.generator).schedule(tasks, epochs)
            for task, planned in start:
                last = task.index == len(tasks) - 1
                yield task, self.max_epochs if last else planned
            return
        for task, _ in super().schedule(tasks, len(tasks)):
            over = self.ended or self.stage >= self._last_stage(task.index)
            yield task, 0 if over else self.max_epochs - self.epochs

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        if not self.epochs:  # what came before were no steps on all tasks
            self._stale_steps = 0

    def after_step(self, learner: ContinualLearner) -> None:
        self._stale_steps += 1

    def end_epoch(self, learner: ContinualLearner, task: Task) -> NextEpoch:
        if self.cumulative_start and task.index < self._segments - 1:
            return AS_PLANNED
        self.epochs += 1
        error = typical_error(learner, self._validation)
        if error < self._best_error:
            self._best_error, self._best = error, _copy(learner)
        self._stale += 1
        if error < self._to_beat:
            self._to_beat = error - self.min_improvement * abs(error)
            self._stale = self._stale_steps = 0
        if self._stale < self.fewest_epochs or self._stale_steps < self.patience:
            return NextEpoch(ended=self.ended)
        self.stage, self._stale, self._stale_steps = self.stage + 1, 0, 0
        self._restore(learner)
        over = self.ended or self.stage >= self._last_stage(task.index)
        return NextEpoch(self.decay if self.stage < self.stages else 1.0, ended=over)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        self._restore(learner)

    def _last_stage(self, segment: int) -> int:
        """Return how many stages there are up to the end of a segment; the first has one."""
        return -(-(segment + 1) * self.stages // self._segments)

    def _restore(self, learner: ContinualLearner) -> None:
        if self._best:
            learner.load_state_dict(self._best)

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "epochs": self.epochs,
            "stage": self.stage,
            "stale": self._stale,
            "stale_steps": self._stale_steps,
            "best": self._best,
            "best_error": self._best_error,
            "to_beat": self._to_beat,
        }

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        devices = {name: value.device for name, value in learner.state_dict().items()}
        self.epochs, self.stage, self._stale = state["epochs"], state["stage"], state["stale"]
        self._stale_steps = state["stale_steps"]
        self._best = {name: value.to(devices[name]) for name, value in state["best"].items()}
        self._best_error, self._to_beat = state["best_error"], state["to_beat"]


def _copy(learner: ContinualLearner) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in learner.state_dict().items()}
