"""Iterations by first, last and period."""

import pytest

from insituml.data.iteration_range import IterationRange


@pytest.mark.parametrize(
    "given, chosen",
    [([0, 30, 10], [0, 10, 20, 30]), ([5, 24, 10], [5, 15]), ([7, 7, 1], [7]), ([0, 9, 100], [0])],
)
def test_both_ends_belong_to_it(given: list[int], chosen: list[int]) -> None:
    found = IterationRange.of(given)
    assert found is not None
    assert [n for n in range(50) if n in found] == chosen


def test_none_is_all() -> None:
    assert IterationRange.of(None) is None


@pytest.mark.parametrize(
    "given",
    [[0, 9], [0, 9, 0], [0, 9, -1], [9, 0, 1], [0.5, 1, 1], ["0", 1, 1], [True, 2, 1], [-1, 5, 1]],
)
def test_wrong_ones_are_named(given: list) -> None:
    with pytest.raises(ValueError, match=r"must be \[first, last, period\]"):
        IterationRange.of(given)
