"""What the system refuses, in one line: a full disk, a file in the way, a missing permission."""

from __future__ import annotations

import errno
import resource
import shutil
from pathlib import Path

from insituml_pipelines.common.errors import UserError

EXTERNAL = 1
"""Exit code where the command was right and the machine could not do it."""

REMEDIES = {
    errno.ENOSPC: "make room on that disk and run the same command again",
    errno.EDQUOT: "your quota there is used up; make room and run the same command again",
    errno.EFBIG: "files may not become that large here; raise `ulimit -f` or store less",
    errno.EACCES: "give yourself the permission, or work in a folder of your own",
    errno.EPERM: "it is protected; unprotect it (lsattr, chattr), or work in another folder",
    errno.EROFS: "the disk can only be read; work in a folder that can be written",
    errno.ENOTDIR: "a file is in the way of a folder; move it away",
    errno.EEXIST: "something is in the way; move it away",
    errno.EISDIR: "a folder is in the way of a file; move it away",
    errno.ENOTEMPTY: "something else writes there; wait for it and run the same command again",
    errno.ELOOP: "links lead around in a circle; replace them",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
    errno.EMFILE: "too many files are open; raise `ulimit -n`",
    errno.EIO: "the disk fails; copy your data to another one",
    errno.ENOENT: "look whether its folder is there",
}


def in_one_line(error: OSError) -> str:
    """Return what happened to which file and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename is not None else ""
    remedy = REMEDIES.get(error.errno or 0)
    if remedy is None and "written" in reason:  # NumPy's own words for a full disk
        remedy = REMEDIES[errno.ENOSPC]
    return " ".join(f"{where}{reason}".split()) + (f"; {remedy}" if remedy else "")


def ask_for_room(folder: Path, needed: int, largest: int, what: str) -> None:
    """Refuse to begin what would fill the disk.

    Parameters
    ----------
    folder
        Where it is to be written; it need not be there yet.
    needed
        Bytes in all.
    largest
        Bytes of the largest file.
    what
        What messages call it.

    Raises
    ------
    UserError
        If there is no room.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"{what} takes {_megabytes(needed)} in {folder}, but only {_megabytes(free)} are free "
            "on that disk; make room, or make less of it",
            EXTERNAL,
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit not in (-1, resource.RLIM_INFINITY) and largest > limit:
        raise UserError(
            f"{what} takes files of {_megabytes(largest)} in {folder}, but `ulimit -f` allows "
            f"{_megabytes(limit)}; raise it, or make less of it",
            EXTERNAL,
        )


def _megabytes(count: int) -> str:
    return f"{1e-6 * count:.3g} MB"
