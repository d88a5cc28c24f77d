"""The tasks that a stage works on, and whether they are of the data that were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.common.errors import UserError
from pipelines.common.node import Node
from pipelines.common.schema import Data, validate

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.task_files import TaskFiles

IDENTIFYING = ("name", "kind", "split")
"""What of section ``data`` the split depends on, and so stands in the manifest."""


def read_tasks(folder: Path, asked: Node | None = None) -> TaskFiles:
    """Open the tasks that the split stage left.

    Parameters
    ----------
    folder
        Where they lie.
    asked
        Section ``data`` as the command asks for it; None: whatever there is will do.

    Raises
    ------
    UserError
        If there are none, or of an earlier version, or of other data.
    """
    from insituml.data.task_files import TaskFiles

    again = "run `python -m pipelines.split`"
    try:
        files = TaskFiles.open(folder)
    except FileNotFoundError as error:
        raise UserError(f"there are no tasks in {folder}; {again} first") from error
    except ValueError as error:
        raise UserError(f"{error}: {again} again, with the same options") from error
    if asked is not None and (difference := _difference_from(asked, files.manifest)):
        raise UserError(
            f"{folder} holds other data than this command asks for: {difference}; run "
            "`python -m pipelines.generate` and `python -m pipelines.split` with these options, "
            "or leave them out to go on with what is there"
        )
    return files


def facts_of(manifest: Manifest) -> Node:
    """Return what the configuration may refer to as ``stream``."""
    return {
        "tasks": len(manifest.tasks),
        "sample_shape": list(manifest.sample_shape),
        "condition_size": manifest.condition_size,
    }


def _difference_from(asked: Node, manifest: Manifest) -> str:
    """Compare what is asked for, as it is once it has been checked."""
    data = validate(Data, {**asked, "source": {}}, "data")
    return _difference(data.model_dump(), manifest.configuration)


def _difference(asked: Node, found: Any, where: str = "data") -> str:
    """Name the first value in which two nested sections differ; empty where none does."""
    keys = IDENTIFYING if where == "data" else sorted(asked.keys() | found.keys())
    for key in keys:
        ours, theirs, name = asked.get(key), found.get(key), f"{where}.{key}"
        if isinstance(ours, dict) and isinstance(theirs, dict):
            if inner := _difference(ours, theirs, name):
                return inner
        elif ours != theirs:
            return f"{name} is {theirs!r} there, {ours!r} here"
    return ""
