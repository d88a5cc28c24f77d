"""One odd iteration of a field is named and left out; the others come, in files and in streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from insituml.data.step import Grid, SourceFailedError, Step
from insituml.stream import FieldStream, Finished, ProducerDied, Rejected, checked

NUMBERS = (0, 10, 20, 30, 40)


class Odd:
    """Five iterations of two components; what ``odd`` returns for 20 stands in its place."""

    components = ("Ex", "Bz")
    unit = "V/m"
    units = ("V/m", "T")
    grid = Grid((3,), (1e-6,), (0.0,), ("z",))
    iteration_numbers = NUMBERS

    def __init__(self, odd: Any) -> None:
        self.odd = odd
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return len(NUMBERS)

    def __iter__(self) -> Iterator[Step]:
        return self.steps(range(len(self)))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        self.asked.append(list(places))
        for place in self.asked[-1]:
            number = NUMBERS[place]
            step = Step(number, 1e-15 * number, np.full((2, 3), number, np.float32))
            yield self.odd(step) if number == 20 else step


def raising(error: Exception) -> Any:
    def odd(step: Step) -> Step:
        raise error

    return odd


def with_(**changes: Any) -> Any:
    return lambda step: Step(**{**vars(step), **changes})


def values(array: Any) -> Any:
    return with_(values=array)


FAULTS = {
    "record": (raising(KeyError("no record 'E' in iteration 20")), "no record 'E' in iteration 20"),
    "shape": (raising(ValueError("iteration 20 has shape (4,)")), "iteration 20 has shape"),
    "file": (raising(OSError(5, "Input/output error", "d_20.h5")), "Input/output error: 'd_20.h5'"),
    "library": (raising(RuntimeError("\x1b[31m[ADIOS2]\x1b[0m\n  EBusy")), "[ADIOS2] EBusy"),
    "bare": (raising(KeyError("x")), "KeyError: x"),
    "silent": (raising(AssertionError()), "AssertionError"),
    "array": (lambda step: step.values, "yielded ndarray, not a Step"),
    "nothing": (lambda step: None, "yielded NoneType, not a Step"),
    "number": (with_(iteration=21), "yielded iteration 21 in its place"),
    "backward": (with_(iteration=10), "yielded iteration 10 in its place"),
    "nan": (values(np.full((2, 3), np.nan)), "6 NaN and 0 infinite"),
    "components": (values(np.zeros((1, 3))), "have shape (1, 3), the stream's have (2, 3)"),
    "points": (values(np.zeros((2, 4))), "have shape (2, 4)"),
    "empty": (values(np.zeros((0,))), "have shape (0,)"),
    "too large": (values(np.full((2, 3), 1e300)), "6 infinite"),
    "complex": (values(np.zeros((2, 3), complex)), "complex128; expected real numbers"),
    "text": (values(np.full((2, 3), "a")), "their dtype is <U1"),
    "objects": (values(np.full((2, 3), None)), "their dtype is object"),
    "no values": (values(None), "it has no values"),
    "time": (with_(time=float("nan")), "its time is nan"),
    "no time": (with_(time=None), "its time is None"),
    "origin": (with_(metadata={"grid_origin": (1.0, 2.0)}), "its origin is (1.0, 2.0)"),
    "no origin": (with_(metadata={"grid_origin": "here"}), "its origin"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_odd_iteration_is_named_and_the_others_come(fault: str) -> None:
    odd, reason = FAULTS[fault]
    stream = FieldStream(Odd(odd))
    events = list(checked(stream.events(), stream.describe()))
    assert [getattr(event, "iteration", event) for event in events] == [*NUMBERS, Finished()]
    rejected = [event for event in events if isinstance(event, Rejected)]
    assert [event.iteration for event in rejected] == [20]
    assert reason in rejected[0].reason
    assert "\n" not in rejected[0].reason
    assert [event.values[0, 0] for event in events if isinstance(event, Step)] == [0, 10, 30, 40]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4", np.int8, np.uint64, bool])
def test_any_real_numbers_become_float32(dtype: Any) -> None:
    array = np.arange(6).reshape(3, 2).T.astype(dtype)  # not contiguous
    stream = FieldStream(Odd(values(array)))
    events = list(checked(stream.events(), stream.describe()))
    assert events[2].values.dtype == np.float32
    np.testing.assert_array_equal(events[2].values, array.astype(np.float32))


def test_a_reader_is_asked_again_only_after_a_fault() -> None:
    source = Odd(FAULTS["record"][0])
    assert len(list(FieldStream(source).steps(NUMBERS))) == 5
    assert source.asked == [[0, 1, 2, 3, 4], [3, 4]]


def test_one_that_ends_early_misses_the_rest_by_name() -> None:
    class Short(Odd):
        def steps(self, places: Iterable[int]) -> Iterator[Step]:
            return super().steps([place for place in places if place < 3])

    rest = list(FieldStream(Short(lambda step: step)).steps(NUMBERS))[3:]
    assert rest == [Rejected(n, "the source ended before it") for n in (30, 40)]


def test_one_that_cannot_go_on_has_died() -> None:
    stream = FieldStream(Odd(raising(SourceFailedError("out of plasma"))))
    *_, ending = events = list(stream.events())
    assert ending == ProducerDied("out of plasma")
    assert len(events) == 3


def test_units_go_with_the_components() -> None:
    description = FieldStream(Odd(lambda step: step)).describe()
    assert (description.unit, description.units) == ("V/m, T", ("V/m", "T"))


@pytest.mark.parametrize(
    "numbers, rejected", [((0, 10, 10, 20), [10]), ((0, 20, 10, 30), [10]), ((5, 4, 3, 6), [4, 3])]
)
def test_iterations_that_do_not_ascend_are_rejected(numbers, rejected) -> None:
    steps = [Step(n, 0.0, np.zeros((2, 3), np.float32)) for n in numbers]
    events = list(checked([*steps, Finished()], FieldStream(Odd(None)).describe()))
    found = [event for event in events if isinstance(event, Rejected)]
    assert [event.iteration for event in found] == rejected
    assert "iterations must ascend" in found[0].reason


@pytest.mark.parametrize("event", [None, np.zeros(3), "done"])
def test_what_is_no_event_ends_the_stream(event: Any) -> None:
    with pytest.raises(TypeError, match="expected a Step or an ending"):
        list(checked([event], FieldStream(Odd(None)).describe()))


@pytest.mark.parametrize("number, error", [(1.5, TypeError), (-1, ValueError), (2**63, ValueError)])
def test_what_is_no_iteration_ends_the_stream(number: Any, error: type[Exception]) -> None:
    step = Step(number, 0.0, np.zeros((2, 3), np.float32))
    with pytest.raises(error, match="an iteration has the number"):
        list(checked([step], FieldStream(Odd(None)).describe()))


def test_one_without_iterations_is_refused() -> None:
    source = Odd(None)
    source.iteration_numbers = ()
    with pytest.raises(ValueError, match="Odd has no iterations"):
        FieldStream(source).describe()
