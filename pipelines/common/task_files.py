"""The tasks that a stage works on, and whether they are of the data that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.common.errors import UserError
from pipelines.common.node import Node
from pipelines.common.schema import Data, validate

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.task_files import TaskFiles

SPLIT = ("name", "kind", "split")
"""What of section ``data`` the split stage reads; the rest comes to it with what was generated."""
IDENTIFYING = (*SPLIT, "source", "path", "component")
"""What of section ``data`` says which data these are; it stands in the manifest."""


def identifying(data: Data) -> Node:
    """Return what the split stage puts into the manifest of its own section."""
    return data.model_dump(include=set(SPLIT))


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


def facts_of(tasks: int, sample_shape: Sequence[int], condition_size: int) -> Node:
    """Return what the configuration may refer to as ``stream``."""
    return {
        "tasks": tasks,
        "sample_shape": list(sample_shape),
        "condition_size": condition_size,
    }


def _difference_from(asked: Node, manifest: Manifest) -> str:
    """Compare what is asked for, as it is once it has been checked."""
    rest = {"name": "", "kind": "", "source": {}, "split": manifest.configuration["split"]}
    plain = validate(Data, {**rest, **asked}, "data").model_dump()
    return _difference({key: plain[key] for key in asked}, manifest.configuration)


def _difference(asked: Node, found: Any, where: str = "data") -> str:
    """Name the first value in which two nested sections differ; empty where none does."""
    # Of the section itself only what is asked for counts, below it all.
    keys = asked.keys() if where == "data" else sorted(asked.keys() | found.keys())
    for key in keys:
        ours, theirs, name = asked.get(key), found.get(key), f"{where}.{key}"
        if isinstance(ours, dict) and isinstance(theirs, dict):
            if inner := _difference(ours, theirs, name):
                return inner
        elif ours != theirs:
            return f"{name} is {theirs!r} there, {ours!r} here"
    return ""
