"""Give the runs of a method their place among the results when all are whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from insituml_pipelines.common.output import new_folder
from insituml_pipelines.runs.run import Run

PATIENCE = 60.0
"""Seconds to wait while the same method, trained otherwise, is published by another process."""


def publish(runs: Sequence[Run], output: Path, extra: dict[str, object] | None = None) -> None:
    """Copy checkpoints to ``output/runs/<method>``; where training goes on is in the last alone.

    Parameters
    ----------
    runs
        All seeds of one method.
    output
        Gets ``runs/<method>/seed_<n>/task_<k>.pt``, and ``timings/<method>.json``, which says how
        long it took.
    extra
        JSON files to put beside the seeds, by name.
    """
    from insituml.atomic_file import write_json

    name = runs[0].recipe.method_name
    timings = {str(run.recipe.seed): run.timing() for run in runs}
    with new_folder(output / "runs" / name, patience=PATIENCE) as made:
        for run in runs:
            _copy(run, made / f"seed_{run.recipe.seed}")
        for file, content in (extra or {}).items():
            write_json(made / file, content)
    write_json(output / "timings" / f"{name}.json", timings)


def _copy(run: Run, folder: Path) -> None:
    from insituml.checkpoint_file import drop_training_state

    folder.mkdir()
    done = run.finished_tasks()
    files = [run.initial, *(run.checkpoint(k) for k in range(done))]
    for file in files:
        copy = Path(shutil.copy2(file, folder))
        if file != files[-1]:
            drop_training_state(copy)
