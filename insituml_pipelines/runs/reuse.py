"""What was trained in the same way before: a bound takes long, and its recipe says all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from insituml_pipelines.runs.checkpoints import UnusableCheckpointError, check
from insituml_pipelines.runs.run import Run


def are_there(runs: Sequence[Run], tasks: int, output: Path) -> bool:
    """Return whether all runs of a method lie whole among the results, and no others.

    Parameters
    ----------
    runs
        All seeds of one method.
    tasks
        How many checkpoints each has.
    output
        Holds ``runs/<method>`` and ``timings/<method>.json``.
    """
    name = runs[0].recipe.method_name
    folder = output / "runs" / name
    expected = {f"seed_{run.recipe.seed}" for run in runs}
    if not (output / "timings" / f"{name}.json").is_file():
        return False
    if {path.name for path in folder.glob("seed_*")} != expected:
        return False
    try:
        for run in runs:
            published = replace(run, folder=folder / f"seed_{run.recipe.seed}")
            if published.finished_tasks() != tasks:
                return False
            files = [published.initial, *map(published.checkpoint, range(tasks))]
            for number, file in enumerate(files, start=-1):
                # State from which training goes on is in the last one alone.
                check(published, file, goes_on=number == tasks - 1, task=number)
    except UnusableCheckpointError:
        return False
    return True
