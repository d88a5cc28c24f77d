"""The trained seeds of a method, each checkpoint asked whether it is what its name says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.runs.identity import Identity

if TYPE_CHECKING:
    from insituml.data.task_files import TaskFiles
    from insituml.learner import ContinualLearner

FACTS = {
    "loss_history": list,
    "steps": int,
    "memory_bytes": int,
    "sequential": bool,
    "keeps_all_data": bool,
    "is_bound": bool,
}
"""What an evaluation asks of a checkpoint's metadata, beside whose it is."""


def seed_folders(runs: Path) -> dict[int, Path]:
    """Return the folders of a method's seeds, in order.

    Raises
    ------
    UserError
        If there is none, or one that cannot be a seed's.
    """
    again = f"run `insituml train method={runs.name}`"
    found = {}
    for folder in runs.glob("seed_*"):
        number = re.fullmatch(r"seed_(0|[1-9]\d*)", folder.name)
        if number is None or not folder.is_dir():
            raise UserError(f"{folder} is no folder of a seed, such as seed_0; move it away")
        found[int(number[1])] = folder
    if not found:
        raise UserError(f"there are no checkpoints of {runs.name}; {again}")
    return dict(sorted(found.items()))


def trained_learners(
    folder: Path, method: str, seed: int, files: TaskFiles, other: Identity | None = None
) -> list[ContinualLearner]:
    """Load the untrained learner of a seed and the one after each task.

    Parameters
    ----------
    folder
        Of the seed.
    method, seed
        Which run it is to be.
    files
        The tasks that it is to have been trained on.
    other
        Identity of another seed, which must be trained in the same way.

    Raises
    ------
    UserError
        If a checkpoint is missing, damaged, or of another run than its name says.
    """
    from insituml_pipelines.runs.run import INITIAL, checkpoint_path

    tasks = range(len(files.manifest.tasks))
    learners = []
    for task, path in [(-1, folder / INITIAL), *((k, checkpoint_path(folder, k)) for k in tasks)]:
        learner = _load(path, f"run `insituml train method={method}` again")
        facts = learner.metadata
        identity = _identity(facts, path, method)
        _check_data(identity, folder, files)
        if (identity.method_name, identity.seed, facts.get("task")) != (method, seed, task):
            raise UserError(
                f"{path} is of {identity.method_name}, seed {identity.seed}, after task "
                f"{facts.get('task')}, not of {method}, seed {seed}, after task {task}: files were "
                f"exchanged; run `insituml train method={method}` again"
            )
        other = other or identity
        if identity.of_all_seeds() != other.of_all_seeds():
            differing = [*identity.differences(other), "method or code"][0]
            raise UserError(
                f"{path} was trained with another {differing} than the checkpoints before it; run "
                f"`insituml train method={method}` again, with all seeds"
            )
        learners.append(learner)
    return learners


def _check_data(identity: Identity, folder: Path, files: TaskFiles) -> None:
    expected = files.manifest.fingerprint
    if identity.data != expected:
        raise UserError(
            f"{folder} was trained on other data ({identity.data[:12]}) than those in "
            f"{files.folder} ({expected[:12]}); train again"
        )


def _load(path: Path, again: str) -> ContinualLearner:
    from insituml import load_checkpoint
    from insituml.model_class import UntrustedModelError

    try:
        return load_checkpoint(path)
    except UntrustedModelError as error:  # to train again would not help
        raise UserError(str(error)) from error
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {again}") from error
    except (ValueError, ImportError, OSError) as error:
        raise UserError(
            f"{error}; {again}" if str(path) in str(error) else f"{path}: {error}; {again}"
        ) from error
    except (RuntimeError, TypeError, KeyError, AttributeError) as error:
        # Weights or arguments that are not those of the model's class.
        said = " ".join(str(error).split())[:300]
        raise UserError(f"{path} does not fit its own model ({said}); {again}") from error


def _identity(facts: dict[str, Any], path: Path, method: str) -> Identity:
    try:
        identity = Identity.of_metadata(facts)
        if not all(isinstance(facts[name], kind) for name, kind in FACTS.items()):
            raise TypeError("a fact has another type")
        return identity
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path} does not say which run it is of ({type(error).__name__} {error}); run "
            f"`insituml train method={method}` again"
        ) from error
