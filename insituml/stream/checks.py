"""Look at what a stream delivers before anything learns from it."""

from __future__ import annotations

import math
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from insituml.data.step import Step
from insituml.data.windows import LARGEST_ITERATION
from insituml.stream.events import Event, Finished, Gap, Rejected
from insituml.stream.source import Description

MISSING = "missing: the source neither delivered nor reported them"
"""Why they are a gap."""


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
        of the description, their iterations ascending. A float64 value beyond the range of float32
        counts as infinite.

    Raises
    ------
    TypeError, ValueError
        If something else than an event comes, or the number of an iteration is none.
    """
    last = None
    for event in events:
        if not isinstance(event, Event):
            raise TypeError(f"the source gave {type(event).__name__}; expected a Step or an ending")
        if isinstance(event, Step):
            number = _number(event.iteration)
            if last is not None and number <= last:
                yield Rejected(number, f"it came after iteration {last}; iterations must ascend")
                continue
            last = number
            yield checked_step(replace(event, iteration=number), description)
        else:
            yield event


def checked_step(step: Step | Rejected, description: Description) -> Step | Rejected:
    """Return a step as :func:`checked` yields it; one that is rejected already stays so."""
    if isinstance(step, Rejected):
        return step
    if fault := _fault_of_place(step, description):
        return Rejected(step.iteration, fault)
    columns: dict[str, np.ndarray] = {}
    for name, (shape, dtype) in description.columns.items():
        column = getattr(step, name)
        if column is None:
            return Rejected(step.iteration, f"it has no {name}")
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                column = _real(column, dtype)
            except (TypeError, ValueError) as error:
                return Rejected(step.iteration, f"its {name} are no numbers: {error}")
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


def _number(iteration: Any) -> int:
    try:
        number = operator.index(iteration)
    except TypeError:
        raise TypeError(f"an iteration has the number {iteration!r}; expected an integer") from None
    if not 0 <= number <= LARGEST_ITERATION:
        raise ValueError(f"an iteration has the number {number}; expected 0 to 2^63 − 1")
    return number


def _real(values: Any, dtype: str) -> np.ndarray:
    """Return values as an array of real numbers of a dtype."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":  # complex ones would lose their imaginary part unnoticed
        raise TypeError(f"their dtype is {array.dtype}; expected real numbers")
    return array.astype(dtype, copy=False)


def _fault_of_place(step: Step, description: Description) -> str:
    """Say what is wrong with when or where a step is; empty if nothing is."""
    try:
        if not math.isfinite(step.time):
            return f"its time is {step.time}, no number of seconds"
        origin = step.origin
    except (TypeError, ValueError) as error:
        return f"its time is {step.time!r}, its origin {step.metadata!r}: {error}"
    if origin is None or description.grid is None:
        return ""
    if len(origin) != len(description.grid.shape) or not all(map(math.isfinite, origin)):
        return f"its origin is {origin}; expected {len(description.grid.shape)} finite numbers"
    return ""


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
        missing = missing_before(event, expected, seen)
        if (bounds := _bounds(event)) is not None:
            seen = bounds[1] if seen is None else max(seen, bounds[1])
        if missing is not None:
            yield Gap(*missing, reason=MISSING)
        yield event


def missing_before(
    event: Event, expected: Sequence[int] | int, seen: int | None
) -> tuple[int, int] | None:
    """Return the first and last iteration that should have come before an event; None: none.

    Parameters
    ----------
    event
        Any.
    expected
        As :func:`with_gaps` takes it.
    seen
        The last iteration that came or is known not to come; None: none is.
    """
    bounds = _bounds(event)
    if bounds is not None:
        return _between(expected, seen, bounds[0])
    return _between(expected, seen, None) if isinstance(event, Finished) else None


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
