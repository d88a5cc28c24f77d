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
    :func:`~insituml.mean_errors.typical_error`, in which each counts alike. A round holds the
    learning rate until the error has not improved for ``patience`` steps, goes back to the best
    weights of the round, and from there lets the rate fall straight to zero. Where a round has
    improved on those before, another one begins from the best weights so far, at the full rate.
    A round is what a killed run goes back to: the rounds are dealt out over as many segments as
    there are tasks, each followed by a checkpoint of the best weights so far. The segments that
    are left over when training has ended change nothing.

    Parameters
    ----------
    patience
        Steps of the optimizer without improvement that end the full rate: whatever the size of
        the data, since how long an error may stand still does not depend on it.
    fewest_epochs
        Without improvement, all the same.
    min_improvement
        Share of the error by which it must fall to count as improved.
    anneal_share
        Epochs in which the rate falls, as a share of those of the round at the full rate.
    rounds
        At most.
    cumulative_start
        Begin as cumulative training does, a task more at a time, and with all tasks together only
        when the last one has come: where the order of the tasks leads to better weights than all
        of them at once, a bound must begin so. All rounds are then in the last segment.
    max_epochs
        Over all tasks at most; where that many ended it, :attr:`note` says so.
    generator
        As of every method; nothing is drawn from it.

    Raises
    ------
    ValueError
        If a number is out of its range, or no task has a validation part.

    References
    ----------
    Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations",
    NeurIPS 2024: a rate that is held and then falls straight to zero, from any point on.
    """

    converges = True
    keeps_to_budget = False
    learns_sharded = False

    def __init__(
        self,
        patience: int = 2000,
        fewest_epochs: int = 5,
        min_improvement: float = 0.005,
        anneal_share: float = 0.5,
        rounds: int = 3,
        max_epochs: int = 2000,
        cumulative_start: bool = False,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        if min(patience, fewest_epochs, max_epochs, rounds) < 1:
            raise ValueError(
                f"patience is {patience}, fewest_epochs {fewest_epochs}, max_epochs {max_epochs} "
                f"and rounds {rounds}; expected 1 or more"
            )
        if not 0 < anneal_share <= 1 or not 0 <= min_improvement < 1:
            raise ValueError(
                f"anneal_share is {anneal_share}, expected above 0 and at most 1; min_improvement "
                f"{min_improvement}, expected a share below 1"
            )
        self.patience = patience
        self.fewest_epochs = fewest_epochs
        self.min_improvement = min_improvement
        self.anneal_share = anneal_share
        self.rounds = rounds
        self.max_epochs = max_epochs
        self.cumulative_start = cumulative_start
        self.epochs = 0
        self.round = 0
        self._in_round = 0  # epochs of it at the full rate
        self._annealing = 0  # epochs in which the rate falls; 0: it is held
        self._annealed = 0  # of these, how many are done
        self._before = float("inf")  # to be beaten by a round for another one to follow
        self._stale = 0  # epochs, and steps, since the last improvement
        self._stale_steps = 0
        self._best: dict[str, Any] = {}  # of all rounds
        self._best_error = float("inf")
        self._of_round: dict[str, Any] = {}  # the best of this one, which begins above the last's
        self._round_error = float("inf")
        self._to_beat = float("inf")
        self._validation: list[Batch] = []
        self._segments = 1

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to train."""
        return self.round >= self.rounds or self.epochs >= self.max_epochs

    @property
    def note(self) -> str:
        if self.epochs >= self.max_epochs and self.round < self.rounds:
            return f"not converged: max_epochs={self.max_epochs} ended it in round {self.round + 1}"
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
            over = self.ended or self.round >= self._last_round(task.index)
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
        self._look(learner)
        if self._annealing:
            return self._fall(learner, task)
        self._in_round += 1
        if self._stale < self.fewest_epochs or self._stale_steps < self.patience:
            return NextEpoch(ended=self.ended)
        learner.load_state_dict(self._of_round)
        self._annealing = max(1, round(self.anneal_share * self._in_round))
        self._annealed = 0
        # The mean over the epoch of a rate that falls straight from 1 to 0 over all of them.
        return NextEpoch(1 - 0.5 / self._annealing, ended=self.ended)

    def _look(self, learner: ContinualLearner) -> None:
        """Take the error, and keep the weights that are the best so far."""
        error = typical_error(learner, self._validation)
        if error < self._round_error or not self._of_round:
            self._round_error, self._of_round = error, _copy(learner)
        if self._round_error < self._best_error:
            self._best_error, self._best = self._round_error, self._of_round
        self._stale += 1
        if error < self._to_beat:
            self._to_beat = self._improved(error)
            self._stale = self._stale_steps = 0

    def _fall(self, learner: ContinualLearner, task: Task) -> NextEpoch:
        """Go on with a rate that falls, or end the round."""
        left = self._annealing - self._annealed  # before the epoch that has ended
        self._annealed += 1
        if left > 1:
            return NextEpoch((left - 1.5) / (left - 0.5), ended=self.ended)
        better = self._best_error < self._before
        self._before = self._improved(self._best_error)
        self.round = self.round + 1 if better else self.rounds
        self._restore(learner)
        back_to_full = self._annealing / 0.5
        self._in_round = self._annealing = self._annealed = 0
        self._stale = self._stale_steps = 0
        self._round_error, self._of_round, self._to_beat = float("inf"), {}, float("inf")
        over = self.ended or self.round >= self._last_round(task.index)
        return NextEpoch(back_to_full, ended=over)

    def _improved(self, error: float) -> float:
        """Return what counts as an improvement on an error, which may be a negative likelihood."""
        return error - self.min_improvement * abs(error)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        self._restore(learner)

    def _last_round(self, segment: int) -> int:
        """Return how many rounds there are up to the end of a segment; the first has one."""
        return -(-(segment + 1) * self.rounds // self._segments)

    def _restore(self, learner: ContinualLearner) -> None:
        if self._best:
            learner.load_state_dict(self._best)

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "best": self._best,
            "best_error": self._best_error,
            "epochs": self.epochs,
            "round": self.round,
            "before": self._before,
        }

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        devices = {name: value.device for name, value in learner.state_dict().items()}
        self._best = {name: value.to(devices[name]) for name, value in state["best"].items()}
        self._best_error, self._before = state["best_error"], state["before"]
        self.epochs, self.round = state["epochs"], state["round"]


def _copy(learner: ContinualLearner) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in learner.state_dict().items()}
