"""What the openPMD-api that is installed was built to read and write."""

from __future__ import annotations

import openpmd_api as io


def extensions() -> tuple[str, ...]:
    """Return the endings of series it knows, without dots, such as ``("h5", "bp", "sst")``."""
    return tuple(io.file_extensions)
