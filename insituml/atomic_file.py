"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_atomically(path: Path | str, content: bytes) -> Path:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never half.

    Parent folders are made when missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; a result should be as readable as any other file.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if (
            isinstance(error, OSError) and error.errno
        ):  # a full disk does not say which file it had no room for
            error.filename = str(path)
        raise
    return path


def write_json(path: Path | str, content: Any) -> Path:
    """Write plain values as JSON that is the same for the same content."""
    return write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
