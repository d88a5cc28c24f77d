"""Packages that compress with loss: an extra, imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any

EXTRA = "compressors"


def compressor_package(name: str) -> Any:
    """Import one of them.

    Raises
    ------
    ImportError
        If it is not installed; the message names what installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{name} is not installed ({error}); pip install 'insituml[{EXTRA}]'"
        ) from error
