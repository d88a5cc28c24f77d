"""Train several seeds side by side and hear from them while they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from insituml_pipelines.common.launcher import launched
from insituml_pipelines.common.workers import do_side_by_side
from insituml_pipelines.runs.checkpoints import RunReport
from insituml_pipelines.runs.run import Run
from insituml_pipelines.runs.together import train_together
from insituml_pipelines.runs.worker import train_run


def train_all(
    runs: Sequence[Run],
    workers: int,
    threads: int,
    listen: RunReport,
    progress: Callable[[int], None] = lambda steps: None,
) -> None:
    """Train all runs, at most ``workers`` at a time.

    Parameters
    ----------
    runs
        What to train.
    workers
        Processes; 0 trains one run after the other in this process. On several ranks, where each
        run takes all of them, it is without use.
    threads
        Threads of each process.
    listen
        Called in this process with every record of every run.
    progress
        Called in this process, now and then, with the number of steps that a run has taken since.

    Raises
    ------
    WorkerDiedError
        If a worker was killed.
    Exception
        The first error of a run, once the others have ended.
    """
    if launched() > 1:
        train_together(runs, listen, progress)
        return
    if workers == 0:
        for run in runs:
            train_run(run, listen, progress)
        return
    # Numerical libraries read these when they are first imported, in the new processes.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)

    def hear(index: int, said: Any) -> None:
        if isinstance(said, int):
            progress(said)
        else:
            listen(runs[index], said)

    do_side_by_side(_train, [(run,) for run in beside(runs, workers)], workers, hear)


def beside(runs: Sequence[Run], workers: int) -> list[Run]:
    """Return the runs, each with how many train side by side noted."""
    return [replace(run, side_by_side=max(1, min(workers, len(runs)))) for run in runs]


def _train(tell: Callable[[Any], None], run: Run) -> None:
    train_run(run, lambda _, record: tell(record), tell)
