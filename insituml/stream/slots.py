"""A fixed number of steps in memory that two processes share."""

from __future__ import annotations

import math
import os
import weakref
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

SHARED_MEMORY_FOLDER = Path("/dev/shm")


class _Memory(SharedMemory):
    """Shared memory that may be let go of while an array still looks into it.

    The array keeps the mapping alive, so it stays readable.
    """

    def __del__(self) -> None:
        with suppress(BufferError):
            super().__del__()


class Slots:
    """``count`` arrays of one shape, float32, in shared memory.

    Parameters
    ----------
    count, shape
        Number of slots, and the shape of the values in each.
    name
        Of slots that another process made; None makes new ones. Who makes them, unlinks them.

    Raises
    ------
    MemoryError
        If the machine's shared memory has no room for them.
    """

    def __init__(self, count: int, shape: tuple[int, ...], name: str | None = None) -> None:
        size = bytes_of(count, shape)
        if name is None:
            _check_room(size)
        self._memory = _Memory(name=name, create=name is None, size=size)
        self.name = self._memory.name
        assert self._memory.buf is not None
        # frombuffer, not ndarray(buffer=...): only the former forbids unmapping what is looked at.
        flat = np.frombuffer(self._memory.buf, np.float32, count * math.prod(shape))
        self.arrays = flat.reshape(count, *shape)
        # Also runs when the interpreter ends with the stream half read.
        self._unlink = weakref.finalize(self, self._memory.unlink) if name is None else None

    def close(self) -> None:
        """Remove the name, if these slots were made here, and let go of the memory."""
        if self._unlink is not None:
            self._unlink()
        del self.arrays
        with suppress(BufferError):  # a consumer still holds a step: unmapped with it
            self._memory.close()


def bytes_of(count: int, shape: tuple[int, ...]) -> int:
    """Return the size of ``count`` float32 arrays."""
    return count * math.prod(shape) * np.dtype(np.float32).itemsize


def _check_room(size: int) -> None:
    """Refuse what would end the writing process with a bus error later."""
    if not SHARED_MEMORY_FOLDER.is_dir():  # not Linux: nothing to ask
        return
    state = os.statvfs(SHARED_MEMORY_FOLDER)
    free = state.f_bavail * state.f_frsize
    if size > free:
        raise MemoryError(
            f"the slots need {size:,} bytes of shared memory, {SHARED_MEMORY_FOLDER} has {free:,}: "
            "use fewer slots or smaller steps, or give it more (docker run --shm-size)"
        )
