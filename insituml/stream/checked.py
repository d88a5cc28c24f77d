"""Look at what a stream delivers before anything learns from it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from insituml.data.step import Step
from insituml.stream.events import Event, Finished, Gap, Rejected
from insituml.stream.source import Description


def checked(events: Iterable[Event], description: Description) -> Iterator[Event]:
    """Turn steps that cannot be learned from into :class:`Rejected`, and the others into float32.

    Parameters
    ----------
    events
        Of any source; what is not a step passes unchanged.
    description
        Gives the shape that the values of each step must have.

    Yields
    ------
    Event
        Steps whose values are finite float32 of ``description.shape``. A float64 value beyond the
        range of float32 counts as infinite.
    """
    for event in events:
        yield _checked_step(event, description.shape) if isinstance(event, Step) else event


def _checked_step(step: Step, shape: tuple[int, ...]) -> Step | Rejected:
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(step.values, dtype=np.float32)
    if values.shape != shape:
        return Rejected(
            step.iteration, f"its values have shape {values.shape}, the stream's have {shape}"
        )
    finite = np.isfinite(values)
    if not finite.all():
        bad, nan = values.size - np.count_nonzero(finite), np.count_nonzero(np.isnan(values))
        return Rejected(
            step.iteration, f"{nan} NaN and {bad - nan} infinite among its {values.size} values"
        )
    return replace(step, values=values)


def with_gaps(
    events: Iterable[Event], expected: Sequence[int] | int, after: int | None = None
) -> Iterator[Event]:
    """Name the iterations that should have come but were neither delivered nor reported.

    Parameters
    ----------
    events
        Of any source, iterations ascending.
    expected
        All iterations of the stream, ascending (:attr:`Description.iterations`), or the number of
        iterations from one step to the next where only this is known.
    after
        The last iteration that the consumer has seen; None at the start of the stream. With a
        period alone, the first step of a stream is then taken as its start.

    Yields
    ------
    Event
        All of ``events``, and a :class:`Gap` before the event that follows missing iterations. The
        end of the list is missed only if the source says that it finished.

    Raises
    ------
    ValueError
        If a period is below 1.
    """
    if isinstance(expected, int) and expected < 1:
        raise ValueError(f"the period is {expected}; it must be at least 1 iteration")
    seen = after
    for event in events:
        bounds = _bounds(event)
        if bounds is not None:
            missing = _between(expected, seen, bounds[0])
            seen = bounds[1] if seen is None else max(seen, bounds[1])
        else:
            missing = _between(expected, seen, None) if isinstance(event, Finished) else None
        if missing is not None:
            yield Gap(*missing, reason="missing: the source neither delivered nor reported them")
        yield event


def _bounds(event: Event) -> tuple[int, int] | None:
    """Return the first and last iteration that an event accounts for."""
    if isinstance(event, Step | Rejected):
        return event.iteration, event.iteration
    return (event.first, event.last) if isinstance(event, Gap) else None


def _between(
    expected: Sequence[int] | int, low: int | None, high: int | None
) -> tuple[int, int] | None:
    """Return the first and last expected iteration strictly between two; None is no limit."""
    if isinstance(expected, int):
        if low is None or high is None or low + expected >= high:
            return None
        return low + expected, low + (high - low - 1) // expected * expected
    begin = 0 if low is None else bisect_right(expected, low)
    end = len(expected) if high is None else bisect_left(expected, high)
    return (expected[begin], expected[end - 1]) if begin < end else None
