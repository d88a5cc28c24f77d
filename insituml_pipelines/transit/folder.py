"""Where a stream's results go: a folder of its own below the working directory."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from insituml_pipelines.common.errors import UserError

CONTENT = ("data", "runs", "timings", "evaluations", "results", "figures", "earlier")
"""What the stream writes below it."""
TAKEN = (*CONTENT, "multirun", "mlruns", "tests")
"""Of other stages and of the project."""
LONGEST = 255
"""Bytes of one name, on the usual file systems."""


def stream_folder(root: Path, name: str) -> Path:
    """Return ``root / name``, if nothing but a stream's results lies or will lie there.

    Raises
    ------
    UserError
        If it is no relative path to a folder of the stream's own, or cannot be written.
    """
    folder = root / name if "\0" not in name else root
    reason = _fault_of_name(name) or _fault_of_place(folder)
    if reason:
        raise UserError(
            f"transit.folder is {name!r}, {reason}; give a new folder below the working directory, "
            "such as transit.folder=transit"
        )
    return folder


def _fault_of_name(name: str) -> str:
    path = PurePath(name)
    if not name.strip() or not path.parts:
        return "which names no folder of its own"
    if path.is_absolute() or ".." in path.parts or path.parts[0].startswith("~"):
        return "which may lead out of the working directory"
    if not name.isprintable():
        return "which holds characters that cannot be printed"
    if max(len(os.fsencode(part)) for part in path.parts) > LONGEST:
        return f"a name of more than {LONGEST} bytes"
    if path.parts[0] in TAKEN or path.parts[0].startswith("."):
        return f"but {path.parts[0]} is not the stream's to write"
    return ""


def _fault_of_place(folder: Path) -> str:
    place = folder
    try:
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            return f"but {place} is no folder"
        if place == folder:
            others = sorted({entry.name for entry in folder.iterdir()} - set(CONTENT))
            others = [other for other in others if not other.startswith(".")]
            if others:
                return f"which holds {others[0]}, which no stream wrote"
    except OSError as error:
        return f"which cannot be used ({error.strerror})"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"but {place} cannot be written"
