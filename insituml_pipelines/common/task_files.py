"""The tasks that a stage works on, and whether they are of the data that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.schema import Data

if TYPE_CHECKING:
    from insituml.data.task_files import TaskFiles

SPLIT = ("name", "kind", "split")
"""What of section ``data`` the split stage reads; the rest comes to it with what was generated."""
KINDS = ("field", "points", "images")
"""What data there are; see :mod:`insituml_pipelines.data.kinds`."""
IDENTIFYING = (*SPLIT, "source", "path", "component")
"""What of section ``data`` says which data these are; it stands in the manifest."""


def identifying(data: Data) -> Node:
    """Return what the split stage puts into the manifest of its own section."""
    return data.model_dump(include=set(SPLIT))


def read_tasks(
    folder: Path,
    asked: Mapping[str, Any] | None = None,
    *,
    parts: Sequence[str] = (),
    places: bool = False,
) -> TaskFiles:
    """Open the tasks that the split stage left.

    Parameters
    ----------
    folder
        Where they lie.
    asked
        What the command asks of the data, by dotted name below ``data``; None: whatever there is
        will do.
    parts, places
        Arrays that are read and compared with what was written:
        :meth:`~insituml.data.task_files.TaskFiles.check`.

    Raises
    ------
    UserError
        If there are none, or damaged ones, or of an earlier version, or of other data.
    """
    from insituml.data.task_files import TaskFiles

    again = "run `insituml split`"
    try:
        files = TaskFiles.open(folder)
    except FileNotFoundError as error:
        raise UserError(f"there are no tasks in {folder}; {again} first") from error
    except ValueError as error:
        raise UserError(f"{error}: {again} again, with the same options") from error
    if files.manifest.kind not in KINDS or (parts and not files.manifest.tasks):
        raise UserError(
            f"{folder} holds {len(files.manifest.tasks)} tasks of {files.manifest.kind!r}, which "
            f"nothing can be learned from; {again} again"
        )
    for name, value in (asked or {}).items():
        there = _value(files.manifest.configuration, name)
        if there != value:
            raise UserError(
                f"{folder} holds other data than this command asks for: data.{name} is {there!r} "
                f"there, {value!r} here; run `insituml generate` and `insituml split` with these "
                "options, or leave them out to go on with what is there"
            )
    try:
        if parts:
            files.check(parts, places=places)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing; {again} again") from error
    except ValueError as error:
        raise UserError(f"{error}; {again} again") from error
    return files


def facts_of(tasks: int, sample_shape: Sequence[int], condition_size: int) -> Node:
    """Return what the configuration may refer to as ``stream``."""
    return {
        "tasks": tasks,
        "sample_shape": list(sample_shape),
        "condition_size": condition_size,
    }


def _value(section: Any, name: str) -> Any:
    """Return what stands under a dotted name; None where nothing does."""
    for key in name.split("."):
        section = section.get(key) if isinstance(section, dict) else None
    return section
