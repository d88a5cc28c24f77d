"""A fixed number of steps in memory that two processes share.

Its name is taken away as soon as both have it: what has no name cannot be left behind. While it has
one, its maker holds a lock on it, so that what a killed process left in between is known by the
lock that nobody holds, and cleared away by the next.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import secrets
import weakref
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from insituml.atomic_file import delete_unlocked
from insituml.data.step import Step

ColumnShapes = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and dtype by name, as :attr:`insituml.stream.Description.columns` says."""
SHARED_MEMORY_FOLDER = Path("/dev/shm")
PREFIX = "insituml-"


class _Memory(SharedMemory):
    """Shared memory that may be let go of while an array still looks into it.

    The array keeps the mapping alive, so it stays readable.
    """

    def __del__(self) -> None:
        with suppress(BufferError):
            super().__del__()


class Slots:
    """Room for ``count`` steps, each of the same columns, in shared memory.

    Parameters
    ----------
    count, columns
        Number of slots; shape and dtype of each column of a step at most, by name.
    name
        Of slots that another process made; None makes new ones. Who makes them, unlinks them.

    Raises
    ------
    MemoryError
        If the machine's shared memory has no room for them.
    """

    def __init__(self, count: int, columns: ColumnShapes, name: str | None = None) -> None:
        size = bytes_of(count, columns)
        if name is None:
            check_room(count, columns)
        self._memory = _made(size, count) if name is None else _Memory(name=name)
        self.name = self._memory.name
        assert self._memory.buf is not None
        self.count = count
        self.columns: dict[str, np.ndarray] = {}
        """By name, ``(count, ...)``."""
        start = 0
        for column, (shape, dtype) in columns.items():
            # frombuffer, not ndarray(buffer=...): only it forbids unmapping what is looked at.
            flat = np.frombuffer(self._memory.buf, dtype, count * math.prod(shape), start)
            self.columns[column] = flat.reshape(count, *shape)
            start += count * _aligned(shape, dtype)
        # Also runs when the interpreter ends with the stream half read.
        self._unlink = weakref.finalize(self, self._memory.unlink) if name is None else None

    def write(self, slot: int, step: Step) -> dict[str, int]:
        """Copy a step's columns into a slot; return how many rows each has."""
        rows = {}
        for name, column in self.columns.items():
            values = getattr(step, name)
            column[slot, : len(values)] = values
            rows[name] = len(values)
        return rows

    def read(self, slot: int, rows: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Return views of a slot's columns, of so many rows each."""
        return {name: column[slot, : rows[name]] for name, column in self.columns.items()}

    def forget_name(self) -> None:
        """Remove the name, if these slots were made here: nobody else can open them any more."""
        if self._unlink is not None:
            self._unlink()

    def close(self) -> None:
        """Remove the name, if these slots were made here, and let go of the memory."""
        self.forget_name()
        self.columns.clear()
        with suppress(BufferError):  # a consumer still holds a step: unmapped with it
            self._memory.close()


def bytes_of(count: int, columns: ColumnShapes) -> int:
    """Return the size of ``count`` steps of these columns."""
    return count * sum(_aligned(shape, dtype) for shape, dtype in columns.values())


def _aligned(shape: tuple[int, ...], dtype: str) -> int:
    """Return the bytes of one array, rounded up so that the next column begins at a whole one."""
    return -(-math.prod(shape) * np.dtype(dtype).itemsize // 8) * 8


def check_room(count: int, columns: ColumnShapes) -> None:
    """Refuse more slots than there is shared memory for.

    Raises
    ------
    MemoryError
        Saying how much they need and how much there is.
    """
    if not SHARED_MEMORY_FOLDER.is_dir():  # not Linux: nothing to ask
        return
    state = os.statvfs(SHARED_MEMORY_FOLDER)
    free = state.f_bavail * state.f_frsize
    if bytes_of(count, columns) > free:
        raise _no_room(count, bytes_of(count, columns), f"has {free:,}")


def clear_left_over() -> None:
    """Delete what killed processes left in shared memory: what nobody holds a lock on."""
    if not SHARED_MEMORY_FOLDER.is_dir():
        return
    for file in SHARED_MEMORY_FOLDER.glob(f"{PREFIX}*"):
        delete_unlocked(file)


def _made(size: int, count: int) -> _Memory:
    """Return new memory, every page of which is there: a page that is not ends who writes to it."""
    clear_left_over()
    while True:
        name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        memory = _Memory(name=name, create=True, size=size)
        descriptor: int = memory._fd  # type: ignore[attr-defined]
        with suppress(OSError):  # a system without locks in shared memory
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits for who is about to clear it
        if os.fstat(descriptor).st_nlink:
            break
        # Another process, such as another rank, took it for left over before it was locked.
        memory.close()
        resource_tracker.unregister(f"/{name}", "shared_memory")
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        memory.close()
        memory.unlink()
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            raise _no_room(count, size, "has less") from error
        raise
    return memory


def _no_room(count: int, size: int, there: str) -> MemoryError:
    return MemoryError(
        f"{count} slots need {size:,} bytes of shared memory, {SHARED_MEMORY_FOLDER} {there}: "
        "use fewer slots or smaller fields, or give it more (docker run --shm-size)"
    )
