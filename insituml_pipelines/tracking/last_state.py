"""What is recorded of a run: its facts as it begins, and its losses and model as it ends."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.tracking.model_folder import FOLDER, ModelError, write_model

if TYPE_CHECKING:
    import numpy as np

    from insituml_pipelines.runs.run import Run

UNREADABLE = (OSError, UserError, LookupError, TypeError, ValueError)
"""What reading files may raise that are gone, damaged, or of another version."""


def facts_of(run: Run) -> dict[str, Any]:
    """Return what is recorded of a run before it begins, plain values."""
    from insituml_pipelines.common.task_files import read_tasks

    files = read_tasks(run.tasks)
    manifest = files.manifest
    return {
        "name": run.recipe.name,
        "identity": asdict(run.recipe.identity()),
        "experiment": run.recipe.experiment or manifest.name,
        "data": {
            "name": manifest.title,
            "digest": manifest.fingerprint[:16],
            "folder": files.folder.name,
            "profile": {
                t.name: {"train": t.train, "test": t.test, "validation": t.validation}
                for t in manifest.tasks
            },
        },
    }


def last_state(run: Run, folder: Path) -> tuple[list[float], Path | None]:
    """Return all losses of a finished run, and its model, which is made in ``folder``.

    What cannot be read is said in a line and left out: the run is recorded all the same.
    """
    from insituml.checkpoint_file import read_checkpoint_file

    done = run.finished_tasks()
    if not done:
        return [], None
    last = run.checkpoint(done - 1)  # it holds all
    try:
        losses = list(read_checkpoint_file(last).metadata["loss_history"])
        made = folder / FOLDER
        made.mkdir()
    except UNREADABLE as error:
        _say(run, "is recorded without its checkpoint", error)
        return [], None
    try:
        write_model(made, last, _sample(run))
    except (ModelError, *UNREADABLE) as error:
        _say(run, "is kept as a checkpoint, which MLflow cannot call as a model", error)
    return losses, made


def _sample(run: Run) -> np.ndarray | None:
    """Return a sample that was trained on; None where they are gone, as in transit."""
    from insituml_pipelines.common.task_files import read_tasks

    try:
        files = read_tasks(run.tasks)
        return None if files.manifest.in_transit else files.array(0, "train_inputs")[0]
    except UNREADABLE as error:
        _say(run, "has zeros as its model's input example", error)
        return None


def _say(run: Run, what: str, error: BaseException) -> None:
    reason = " ".join(str(error).split())[:300]
    print(f"tracking: {run.recipe.name} {what}: {reason}", file=sys.stderr)
