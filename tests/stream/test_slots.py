"""Memory that several processes make at once."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from insituml.stream.slots import SHARED_MEMORY_FOLDER, Slots


@pytest.mark.skipif(not SHARED_MEMORY_FOLDER.is_dir(), reason="has no folder of shared memory")
def test_what_another_process_cleared_before_it_was_locked_is_made_anew(monkeypatch) -> None:
    lock, cleared = fcntl.flock, []

    def clear_first(descriptor: int, how: int) -> None:
        if not cleared:
            cleared.append(Path(f"/proc/self/fd/{descriptor}").readlink())
            cleared[0].unlink()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", clear_first)
    slots = Slots(2, {"values": ((3,), "float32")})
    try:
        made = SHARED_MEMORY_FOLDER / slots.name.lstrip("/")
        assert made.exists()
        assert made != cleared[0]
    finally:
        slots.close()
