"""What a stream says: steps, what is missing between them, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from insituml.data.step import Step


@dataclass(frozen=True)
class Gap:
    """Iterations that the stream lost; those from ``first`` through ``last`` did not arrive."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True)
class Rejected:
    """An iteration that arrived but cannot be learned from: NaN, infinity or a wrong shape."""

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
