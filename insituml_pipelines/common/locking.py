"""One process at a time where two would write the same files."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from insituml_pipelines.common.errors import UserError

UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""From file systems without locks: there nobody is held off."""
ASK_AGAIN = 0.05
"""Seconds between two looks at a lock that another process holds."""


class HeldError(UserError):
    """Another process writes the same."""


@contextmanager
def held(file: Path, what: str, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock ``file`` while the block runs; the kernel lets go of it when the process dies.

    Parameters
    ----------
    file
        Made when missing, and deleted at the end; says who holds it.
    what
        That others must not touch meanwhile, for the message.
    patience
        Seconds to wait for another process to let go of it.

    Raises
    ------
    HeldError
        Naming the process that holds it, since when, and its command.
    """
    deadline = time.monotonic() + patience
    while (descriptor := _lock(file)) is None:
        if time.monotonic() > deadline:
            raise HeldError(f"{what} is being written by {_holder(file)}; wait for it, or stop it")
        time.sleep(ASK_AGAIN)
    try:
        me = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S"), "command": _me()}
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps(me).encode())
        yield
    finally:
        with suppress(OSError):
            file.unlink()
        os.close(descriptor)


def was_held(file: Path) -> bool:
    """Return whether :func:`held` made this file, in a process that may be dead by now."""
    return bool(_told(file))


def _lock(file: Path) -> int | None:
    """Return a descriptor of the locked file, or None if another process holds it."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(f"{file} cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(descriptor)
                raise
        # Who held it before may have deleted the file meanwhile: then this lock is of no file.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)


def _holder(file: Path) -> str:
    told = _told(file)
    if not told:
        return "another process"
    return f"process {told['pid']} since {told['since']} ({told['command']})"


def _told(file: Path) -> dict[str, object]:
    """Return what a lock says of who holds it; nothing if it is none of ours."""
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    known = isinstance(told, dict) and told.keys() == {"pid", "since", "command"}
    return told if known else {}


def _me() -> str:
    """Return this command, as far as it fits a line."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = f"-m {spec.name}" if spec is not None and spec.name else sys.argv[0]
    command = " ".join(["python", name, *sys.argv[1:]])
    return command if len(command) < 200 else command[:197] + "..."
