"""What commands say on their way: coloured for a terminal, plain for a file, or nothing at all."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

QUIET = "INSITUML_QUIET"
"""Variable that makes this process and those it starts say nothing but errors."""
FLAGS = ("-q", "--quiet")
CYAN, YELLOW, RED = "36", "33", "1;31"


def without_quiet(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without ``-q``; where it was among them, be quiet from now on."""
    rest = [argument for argument in arguments if argument not in FLAGS]
    if len(rest) < len(arguments):
        os.environ[QUIET] = "1"
    if is_quiet():
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
    return rest


def is_quiet() -> bool:
    """Whether errors alone are to be said."""
    return os.environ.get(QUIET, "") not in ("", "0")


def say(line: str = "") -> None:
    """Print what a command does or has done; what stands before its first colon is coloured."""
    if not is_quiet():
        _print(line, sys.stdout, CYAN)


def note(line: str) -> None:
    """Print on stderr what the user may want to know but need not mend."""
    if not is_quiet():
        _print(f"note: {line}", sys.stderr, YELLOW)


def error(line: str) -> None:
    """Print on stderr why a command, or a part of it, fails."""
    _print(f"error: {line}", sys.stderr, RED)


def bar(**options: Any) -> tqdm[Any]:
    """Return a progress bar with the time that is left; none where nobody could see it move."""
    from tqdm import tqdm

    return tqdm(disable=True if is_quiet() else None, dynamic_ncols=True, **options)


def shows_colour(stream: IO[str]) -> bool:
    """Whether a stream is a terminal whose user has not asked for plain text (no-color.org)."""
    plain = os.environ.get("NO_COLOR", "") != "" or os.environ.get("TERM") == "dumb"
    return not plain and stream.isatty()


def _print(line: str, stream: IO[str], colour: str) -> None:
    head, colon, rest = line.partition(": ")
    if colon and "\n" not in head and shows_colour(stream):
        line = f"\033[{colour}m{head}:\033[0m {rest}"
    if loaded := sys.modules.get("tqdm"):  # a bar may stand in the way
        loaded.tqdm.write(line, file=stream)
        stream.flush()
    else:
        print(line, file=stream, flush=True)
