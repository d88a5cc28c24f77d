"""Why code that a user may have written failed, on one line."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def reason(error: BaseException) -> str:
    """Return what an error says; with its type and place where a user's own code raised it.

    Messages of insituml say by themselves what is wrong.
    """
    if place_of(error) or not isinstance(error, (ValueError, OSError, LookupError)):
        return in_words(error)
    # A KeyError shows its message in quotes.
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def in_words(error: BaseException) -> str:
    """Return an error on one line: its type, what it says, and where in a user's own code."""
    said = " ".join(str(error).split())
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    place = place_of(error)
    return f"{text} ({place})" if place else text


def place_of(error: BaseException) -> str:
    """Return the last line of a user's own code that an error came through; empty: none."""
    found, trace = "", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if is_users(file):
            found = f"{file.name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def is_users(file: Path) -> bool:
    """Whether a file of code is neither of insituml nor installed."""
    ours = [_folder_of(name) for name in ("insituml", "insituml_pipelines")]
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    return file.is_file() and not any(f in file.parents for f in (*ours, *installed))


def _folder_of(package: str) -> Path:
    file = getattr(sys.modules.get(package), "__file__", None)
    return Path(file).parent if file else Path(__file__).parents[1]
