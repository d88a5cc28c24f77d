"""Files that are written whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

UNFINISHED = ".insituml-unfinished"
"""Ends the names of files that are being written. Their writers hold a lock on them, so that what a
killed process left is known by the lock that nobody holds."""


def write_atomically(path: Path | str, content: bytes) -> Path:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never half.

    Parent folders are made when missing. What killed processes were writing in the same folder is
    cleared away.
    """

    def write(file: BinaryIO) -> None:
        file.write(content)

    return write_atomically_by(path, write)


def write_atomically_by(path: Path | str, write: Callable[[BinaryIO], None]) -> Path:
    """Do as :func:`write_atomically` with what ``write`` writes into the file that it is given."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_unfinished(path.parent)
    descriptor, temporary = _locked_beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            # mkstemp makes the file private; a result should be as readable as any other file.
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            # Before it is closed, which lets go of the lock: others would clear it away.
            Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        # A full disk does not say which file it had no room for.
        if isinstance(error, OSError) and error.errno:
            error.filename = str(path)
        raise
    return path


def clear_unfinished(folder: Path) -> None:
    """Delete what killed processes were writing in a folder: what nobody holds a lock on."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.endswith(UNFINISHED) and e.name.startswith(".")]
    for name in names:
        delete_unlocked(folder / name)


def delete_unlocked(file: Path) -> None:
    """Delete a file, unless a process holds a lock on it."""
    with suppress(OSError):  # locked, of another user, or gone already
        descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
        finally:
            os.close(descriptor)


def _locked_beside(path: Path) -> tuple[int, str]:
    """Return the descriptor of a new file beside ``path``, locked, and its name."""
    while True:
        # A name may have 255 bytes, and another command may clear a file before it is locked.
        prefix = f".{path.name[:40]}."
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=UNFINISHED)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits for who is about to clear it
        if os.fstat(descriptor).st_nlink:
            return descriptor, name
        os.close(descriptor)


def write_json(path: Path | str, content: Any) -> Path:
    """Write plain values as JSON that is the same for the same content."""
    return write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
