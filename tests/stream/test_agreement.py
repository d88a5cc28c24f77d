"""What several ranks make of what each of them hears."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from insituml import ranks
from insituml.data import Grid, Step
from insituml.data.blocks import Block
from insituml.stream import (
    Description,
    Finished,
    Gap,
    NoProducerError,
    ProducerDied,
    Rejected,
    Stalled,
    shared,
)
from insituml.stream.agreement import Came, agree, last_of
from insituml.stream.ring import RingSource
from insituml.stream.shared import SharedStream

END = Finished()
DIED = ProducerDied("it was killed")


def bad(number: int) -> Rejected:
    return Rejected(number, "3 NaN")


def lost(first: int, last: int) -> Gap:
    return Gap(first, last, "dropped")


def followed(*streams: Sequence[Any]) -> list[Any]:
    """Return what all make of streams of which each rank hears its own; a number is a step."""
    left = [deque(Came(e, 0.0, {}) if isinstance(e, int) else e for e in of) for of in streams]
    found: list[Any] = []
    done = -1
    while True:
        agreed = agree([of[0] for of in left], done)
        assert agreed is not None
        assert agreed.of
        for rank in agreed.of:
            left[rank].popleft()
        event = agreed.event
        if event is not None:
            done = max(done, last_of(event))
            found.append(event.iteration if isinstance(event, Came) else event)
        if isinstance(event, Finished | ProducerDied | Stalled):
            return found


@pytest.mark.parametrize(
    "streams, expected",
    [
        ([[0, 10, END]], [0, 10, END]),
        ([[0, bad(10), lost(20, 30), DIED]], [0, bad(10), lost(20, 30), DIED]),
        ([[0, 10, END]] * 3, [0, 10, END]),
        ([[bad(0), 10, END]] * 2, [bad(0), 10, END]),
        (
            [[0, 10, 20, END], [0, bad(10), 20, END]],
            [0, Rejected(10, "rank 1 of 2: 3 NaN"), 20, END],
        ),
        (
            [[0, 10, 20, END], [0, 20, END], [0, 10, 20, END]],
            [0, Gap(10, 10, "rank 1 of 3: it did not get it"), 20, END],
        ),
        (
            [[0, END], [0, 10, END]],
            [0, Gap(10, 10, "rank 0 of 2: it did not get it"), END],
        ),
        (
            [[lost(0, 10), 20, END], [0, 10, 20, END]],
            [Gap(n, n, "rank 0 of 2: dropped") for n in (0, 10)] + [20, END],
        ),
        ([[lost(0, 10), 20, END]] * 2, [lost(0, 10), 20, END]),
        (
            [[lost(0, 20), 30, END], [lost(0, 10), 20, 30, END]],
            [
                Gap(0, 10, "rank 1 of 2: dropped"),
                Gap(20, 20, "rank 0 of 2: dropped"),
                30,
                END,
            ],
        ),
        ([[0, 10, END], [0, DIED]], [0, ProducerDied("rank 1 of 2: it was killed")]),
        ([[0, Stalled(3.0)], [0, 10, END]], [0, Stalled(3.0)]),
    ],
)
def test_what_ranks_hear_becomes_the_same_for_all(streams, expected) -> None:
    assert followed(*streams) == expected


def test_one_that_has_heard_nothing_is_waited_for_but_not_by_an_end() -> None:
    came = Came(0, 0.0, {})
    assert agree([came, None], -1) is None
    assert agree([END, None], -1) is None
    agreed = agree([None, DIED], -1)
    assert agreed is not None
    assert agreed.of == {0, 1}


class Silent(RingSource):
    """Says nothing, ever."""

    def begin(self, after: Any = None, block: Any = None) -> None: ...

    def take(self, timeout: float) -> None:
        self.asked = getattr(self, "asked", 0) + 1

    def describe(self) -> Description:
        return Description(("Bz",), "T", Grid((2,), (1.0,), (0.0,)))


def test_who_waits_for_a_producer_hears_that_another_rank_has_ended(monkeypatch) -> None:
    """The group says so to whoever speaks to it: between two pulses, not when the stream stalls."""
    pulses = []

    def gathered(value: Any) -> list[Any]:
        pulses.append(value)
        if len(pulses) == 4:
            raise RuntimeError("gloo: connection closed by peer")
        return [value, None]

    monkeypatch.setattr(shared, "PULSE", 0.001)
    ring = Silent(lambda: None, stall_timeout=600.0)  # type: ignore[arg-type,return-value]
    stream = SharedStream(ring)
    stream.begin(blocks=[Block((0,), (1,)), Block((1,), (1,))])
    monkeypatch.setattr(ranks, "gathered_objects", gathered)
    with pytest.raises(RuntimeError, match="connection closed"):
        stream.ask()
    assert pulses == [None] * 4


class Missing(Silent):
    """Has no producer."""

    def describe(self) -> Description:
        raise NoProducerError("nobody wrote it")


@pytest.mark.parametrize(
    "others, words",
    [
        (("nobody wrote it", None), "^nobody wrote it"),
        (("", (("Bz",), (1, 2), ("T",))), "^rank 0 of 2: nobody wrote it"),
    ],
)
def test_a_rank_without_a_producer_is_named_unless_all_are(others, words, monkeypatch) -> None:
    monkeypatch.setattr(ranks, "gathered_objects", lambda own: [own, others])
    with pytest.raises(NoProducerError, match=words):
        SharedStream(Missing(lambda: None)).describe()  # type: ignore[arg-type,return-value]


def test_a_producer_that_says_nothing_for_too_long_has_stalled_for_all() -> None:
    ring = Silent(lambda: None, stall_timeout=0.01)  # type: ignore[arg-type,return-value]
    assert list(SharedStream(ring).events()) == [Stalled(0.01)]


def test_a_rank_that_reads_nothing_gets_steps_without_values(monkeypatch) -> None:
    stream = SharedStream(None)
    monkeypatch.setattr(stream, "_description", Silent.describe(None))  # type: ignore[arg-type]
    told = iter([Came(3, 1e-15, {"grid_origin": (2.0,)}), END])
    monkeypatch.setattr(ranks, "told", lambda value: next(told))
    step, end = stream.events()
    assert isinstance(step, Step)
    assert (step.iteration, step.time, step.origin) == (3, 1e-15, (2.0,))
    assert step.values.shape == (1, 0)
    assert end == END
