"""What a stream brought and what it did not: gaps, rejected iterations, time spent waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from insituml.stream.events import Ending, Event, Finished, Gap, ProducerDied, Rejected, Stalled

ACCIDENTAL = ("resumed_after", "seconds", "waited", "bytes_read")
"""What differs between two runs of the same stream."""


@dataclass
class StreamLog:
    """Kept beside the resume points, so that an interruption loses nothing of it."""

    iterations: int = 0
    """How many came and could be learned from."""
    gaps: list[list[Any]] = field(default_factory=list)
    """First iteration, last iteration, reason."""
    lost: int = 0
    """Iterations of the tasks that lie in gaps."""
    rejected: list[list[Any]] = field(default_factory=list)
    """Iteration, reason."""
    outside: int = 0
    """Iterations before the first task or after the last."""
    diverged: dict[str, str] = field(default_factory=dict)
    """Why a run dropped out, by its name."""
    resumed_after: list[int] = field(default_factory=list)
    ending: str = ""
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds in which training waited for the producer."""
    bytes_read: list[int] = field(default_factory=list)
    """By each rank, since it was called last; nothing where nobody counts."""

    @property
    def wait_share(self) -> float:
        """Part of the time in which training waited for the producer."""
        return self.waited / self.seconds if self.seconds else 0.0

    def timed(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass events on, and measure how long each is waited for and worked on."""
        iterator = iter(events)
        while True:
            asked = time.perf_counter()
            event = next(iterator, None)
            came = time.perf_counter()
            self.waited += came - asked
            self.seconds += came - asked
            if event is None:
                return
            try:
                yield event
            finally:
                self.seconds += time.perf_counter() - came

    def note(self, event: Event, say: Callable[[str], None]) -> None:
        """Count what is no step, and say so at once."""
        if isinstance(event, Gap):
            self.gaps.append([event.first, event.last, event.reason])
            say(f"gap: iterations {event.first} to {event.last}, {event.reason}")
        elif isinstance(event, Rejected):
            self.rejected.append([event.iteration, event.reason])
            say(f"iteration {event.iteration} is left out: {event.reason}")
        elif isinstance(event, Ending):
            self.ending = describe_ending(event)

    def content(self) -> dict[str, Any]:
        """Return plain values that are the same for the same stream, interrupted or not."""
        return {k: v for k, v in asdict(self).items() if k not in ACCIDENTAL}

    def times(self) -> dict[str, Any]:
        """Return how it went this time: interruptions, and seconds."""
        return {**{k: getattr(self, k) for k in ACCIDENTAL}, "wait_share": self.wait_share}

    def numbers(self) -> dict[str, float]:
        """Return what is recorded as metrics."""
        return {
            "stream_iterations": self.iterations,
            "stream_lost_iterations": self.lost,
            "stream_rejected_iterations": len(self.rejected),
            "stream_wait_share": self.wait_share,
            "stream_seconds": self.seconds,
        }

    def summary(self) -> str:
        """Return one line for people."""
        parts = [
            f"{_counted(self.iterations)} in {self.seconds:.1f} s",
            f"{self.wait_share:.0%} of it spent waiting for the producer",
            f"{_counted(self.lost)} lost in {_counted(len(self.gaps), 'gap')}",
            f"{_counted(len(self.rejected))} rejected",
        ]
        if self.outside:
            parts.append(f"{_counted(self.outside)} outside the tasks")
        if any(self.bytes_read):
            each = ", ".join(f"{count / 1e6:.1f}" for count in self.bytes_read)
            by_ranks = " by its ranks" if len(self.bytes_read) > 1 else ""
            parts.append(f"{each} MB read{by_ranks}")
        return f"{self.ending}: {', '.join(parts)}"

    def state_dict(self) -> dict[str, Any]:
        """Return everything, plain values; ``StreamLog(**state)`` goes on from there."""
        return asdict(self)


def _counted(number: int, thing: str = "iteration") -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def describe_ending(ending: Ending) -> str:
    """Return how a stream ended, in words."""
    if isinstance(ending, Finished):
        return "the producer finished"
    if isinstance(ending, ProducerDied):
        return f"the producer died ({ending.reason})"
    assert isinstance(ending, Stalled)
    return f"the producer stalled (nothing for {ending.seconds:g} s)"
