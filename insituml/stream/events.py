"""What a stream says: steps, what is missing between them, and how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass

from insituml.data.step import SourceFailedError, Step

MOST_CHARACTERS = 400
"""Of an error's words that are passed on."""


@dataclass(frozen=True)
class Gap:
    """Iterations that the stream lost; those from ``first`` through ``last`` did not arrive."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True)
class Rejected:
    """An iteration that cannot be learned from: unreadable, NaN, infinity or a wrong shape."""

    iteration: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """The producer said that it is done."""


@dataclass(frozen=True)
class ProducerDied:
    """The producer ended without saying that it is done."""

    reason: str


@dataclass(frozen=True)
class Stalled:
    """The producer lives, but gave nothing for this long while the consumer waited."""

    seconds: float


Ending = Finished | ProducerDied | Stalled
Event = Step | Gap | Rejected | Ending


class NoProducerError(TimeoutError):
    """Nobody produced anything within the time allowed for opening a stream."""


def in_one_line(error: BaseException) -> str:
    """Say an error in one line: its own words, after its kind where they mean little without."""
    # A KeyError shows its message in quotes.
    said = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    plain = re.sub(r"\x1b\[[\d;]*m", "", said)
    words = " ".join(plain.split())
    if len(words) > MOST_CHARACTERS:
        words = f"{words[:MOST_CHARACTERS]}…"
    if isinstance(error, ValueError | KeyError | OSError | SourceFailedError) and " " in words:
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
