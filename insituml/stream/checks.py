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
        Steps whose values and labels are finite, and float32 or of the labels' dtype, in the shapes
        of the description. A float64 value beyond the range of float32 counts as infinite.
    """
    for event in events:
        yield checked_step(event, description) if isinstance(event, Step) else event


def checked_step(step: Step, description: Description) -> Step | Rejected:
    """Return a step as :func:`checked` yields it."""
    columns: dict[str, np.ndarray] = {}
    for name, (shape, dtype) in description.columns.items():
        column = getattr(step, name)
        if column is None:
            return Rejected(step.iteration, f"it has no {name}")
        with np.errstate(over="ignore", invalid="ignore"):
            column = np.asarray(column, dtype=dtype)
        fits = column.shape == shape
        if description.samples is not None:  # a block of samples may be a shorter one
            fits = column.shape[1:] == shape[1:] and 0 < len(column) <= shape[0]
        if not fits:
            return Rejected(
                step.iteration, f"its {name} have shape {column.shape}, the stream's have {shape}"
            )
        if fault := not_finite(column):
            return Rejected(step.iteration, f"{fault} among its {column.size} {name}")
        columns[name] = column
    if len({len(column) for column in columns.values()}) > 1:
        counts = " and ".join(f"{len(column)} {name}" for name, column in columns.items())
        return Rejected(step.iteration, f"it has {counts}")
    return replace(step, values=columns["values"], labels=columns.get("labels"))


def not_finite(values: np.ndarray) -> str:
    """Count what is NaN or infinite, in words; empty where nothing is."""
    finite = np.isfinite(values)
    if finite.all():
        return ""
    bad, nan = values.size - np.count_nonzero(finite), np.count_nonzero(np.isnan(values))
    return f"{nan} NaN and {bad - nan} infinite"


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
