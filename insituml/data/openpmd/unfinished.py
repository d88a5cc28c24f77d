"""BP folders whose writer has not closed them: read as far as it got, without waiting for it.

ADIOS2 waits for the writer of a folder whose index says that it is being written, for ever if that
was killed. What the index lists is whole, so that a copy of the index that says "closed" lets it be
read; the user's own files are left alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

INDEX = "md.idx"
ENGINE_AT = 37
ACTIVE_AT = {4: 38, 5: 39}
"""Where the index notes its engine's version, and by that version whether a writer is at work."""
HEADER = 64


def is_unfinished(folder: Path) -> bool:
    """Return whether a BP folder says that its writer is at work."""
    index = folder / INDEX
    if not index.is_file():
        return False
    with index.open("rb") as file:
        header = file.read(HEADER)
    at = ACTIVE_AT.get(header[ENGINE_AT]) if len(header) == HEADER else None
    return at is not None and header[at] != 0


def closed_copy(folder: Path, workplace: Path) -> Path:
    """Return a folder of links to a BP folder's files, whose index says that it was closed.

    Parameters
    ----------
    folder
        The BP folder.
    workplace
        An existing folder to make it in.
    """
    copy = workplace / folder.name
    if copy.exists():
        shutil.rmtree(copy)
    copy.mkdir()
    for file in folder.resolve().iterdir():
        if file.name != INDEX:
            (copy / file.name).symlink_to(file)
    index = bytearray((folder / INDEX).read_bytes())
    index[ACTIVE_AT[index[ENGINE_AT]]] = 0
    (copy / INDEX).write_bytes(index)
    return copy
