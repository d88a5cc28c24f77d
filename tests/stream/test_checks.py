"""Missing iterations are named, never silent."""

from __future__ import annotations

import numpy as np
import pytest

from insituml.data.step import Step
from insituml.stream import Event, Finished, Gap, ProducerDied, Rejected, with_gaps

ITERATIONS = (0, 5, 20, 25, 40, 70)


def step(iteration: int) -> Step:
    return Step(iteration, 0.0, np.zeros((1, 1), np.float32))


def said(events: list[Event], *arguments: object) -> list[object]:
    """Return iterations of steps, ends of gaps, and the rest as it is."""
    found: list[object] = []
    for event in with_gaps(events, *arguments):
        if isinstance(event, Step):
            found.append(event.iteration)
        else:
            found.append((event.first, event.last) if isinstance(event, Gap) else event)
    return found


def test_a_complete_stream_has_no_gaps() -> None:
    events = [*map(step, ITERATIONS), Finished()]
    assert said(events, ITERATIONS) == [*ITERATIONS, Finished()]
    assert said(events[2:], ITERATIONS, 5) == [20, 25, 40, 70, Finished()]
    assert said([*map(step, (7, 17, 27)), Finished()], 10) == [7, 17, 27, Finished()]


def test_what_is_missing_is_named_at_the_start_between_and_at_the_end() -> None:
    events = [step(20), step(40), Finished()]
    expected = [(0, 5), 20, (25, 25), 40, (70, 70), Finished()]
    assert said(events, ITERATIONS) == expected
    assert said(events, ITERATIONS, 0) == [(5, 5), *expected[1:]]


def test_a_period_alone_names_multiples_after_the_last_seen() -> None:
    events = [step(30), step(70), Finished()]
    assert said(events, 10) == [30, (40, 60), 70, Finished()]
    assert said(events, 10, 10) == [(20, 20), 30, (40, 60), 70, Finished()]
    assert said(events, 15) == [30, (45, 60), 70, Finished()]


def test_what_the_source_reports_itself_is_not_reported_twice() -> None:
    rejected = Rejected(5, "NaN")
    events = [step(0), rejected, Gap(20, 25, "dropped"), step(70), Finished()]
    expected = [0, rejected, (20, 25), (40, 40), 70, Finished()]
    assert said(events, ITERATIONS) == expected
    assert said([Gap(20, 25, "dropped"), step(40)], ITERATIONS, 0) == [(5, 5), (20, 25), 40]


def test_what_never_came_after_a_death_is_not_a_gap() -> None:
    died = ProducerDied("exit code 1")
    assert said([step(0), died], ITERATIONS) == [0, died]


def test_a_period_must_advance() -> None:
    with pytest.raises(ValueError, match="period is 0"):
        next(with_gaps([Finished()], 0))
