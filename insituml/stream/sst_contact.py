"""The small file by which the reader of an SST stream finds its writer."""

from __future__ import annotations

import time
from pathlib import Path

POLL_SECONDS = 0.1


def check_stream_path(path: Path) -> None:
    """Refuse what cannot be the name of a contact file.

    Raises
    ------
    ValueError
        If it does not end in ``.sst``, or is a pattern.
    """
    if path.suffix != ".sst":
        raise ValueError(f"{path} must end in .sst, as the contact file of a stream does")
    if "%" in path.name:
        raise ValueError(
            f"{path} is a pattern, but all iterations of a stream come through one contact file; "
            "give it one name (in PIConGPU: --openPMD.infix NULL)"
        )


def await_contact(path: Path, stale: bytes | None, deadline: float) -> bytes | None:
    """Return the contact file's content once it is another than ``stale``; None: it is too late."""
    while True:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        if content and content != stale:
            return content
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)
