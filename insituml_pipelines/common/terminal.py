"""Output to terminals that do not know every character."""

from __future__ import annotations

import io
import os
import sys


def accept_any_terminal() -> None:
    """Print a ``?`` for what the terminal's encoding has not, here and in worker processes.

    An en dash between two iterations is no reason for a stage to fail.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    if errors in ("", "strict") and encoding:
        os.environ["PYTHONIOENCODING"] = f"{encoding}:replace"
