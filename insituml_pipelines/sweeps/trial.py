"""What a job of a search says on its way, by which a pruner ends it early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml_pipelines.common.node import Node
from insituml_pipelines.sweeps.plan import Sweep

if TYPE_CHECKING:
    from insituml.data import TaskFiles
    from insituml_pipelines.runs.run import Run

NEVER = "optuna.pruners.NopPruner"


class PrunedError(Exception):
    """A trial ends early, as others were better after as many tasks."""


class JobTrial:
    """The trial that a job is of.

    Parameters
    ----------
    sweep
        What it is a job of.
    sweeper
        The section ``hydra.sweeper``.
    number
        Of job and trial.
    """

    def __init__(self, sweep: Sweep, sweeper: Node, number: int) -> None:
        from insituml_pipelines.sweeps.study import open_study, trial_numbered

        self._trial = trial_numbered(open_study(sweep, sweeper), number)
        self._tasks = 0

    def look(self, run: Run, files: TaskFiles, part: str) -> None:
        """Report the error after each task whose checkpoint has come.

        Of the last task there is nothing to save, so it is left to the evaluation.

        Parameters
        ----------
        run
            In training.
        files
            Its tasks.
        part
            By which it is judged.

        Raises
        ------
        PrunedError
            If the trial is to end.
        """
        while self._tasks < min(run.finished_tasks(), len(files.manifest.tasks) - 1):
            error = error_after(run, self._tasks, files, part)
            self.report(self._tasks, error)
            self._tasks += 1

    def report(self, task: int, error: float) -> None:
        """Report the average error of the tasks up to one of them.

        Raises
        ------
        PrunedError
            If the trial is to end.
        """
        if task not in self._trial.storage.get_trial(self._trial._trial_id).intermediate_values:
            self._trial.report(error, task)
        if self._trial.should_prune():
            raise PrunedError(f"pruned after task {task}, with an average error of {error:.4g}")


def prunes(sweeper: Node) -> bool:
    """Return whether a search may end trials early; if not, nothing has to be evaluated for it."""
    return sweeper.get("pruner", {}).get("_target_", NEVER) != NEVER


def error_after(run: Run, task: int, files: TaskFiles, part: str) -> float:
    """Return the average error, after a task, of the tasks seen until then."""
    from insituml import metrics
    from insituml.checkpoint import load_checkpoint
    from insituml_pipelines.results.matrices import loss_matrices
    from insituml_pipelines.runs.ambient import ambient_seed

    with ambient_seed(0):
        matrices = loss_matrices([load_checkpoint(run.checkpoint(task))], files, part)
    row = matrices[metrics.main_error({name: m[0] for name, m in matrices.items()})][0]
    return float(row[: task + 1].mean())
