"""Tasks cover the stream once, and nothing is both trained on and held out."""

from __future__ import annotations

import numpy as np
import pytest

from insituml.data.split import (
    hold_out_evenly,
    hold_out_randomly,
    split_by_label,
    split_by_time,
    validate_evenly,
    validate_randomly,
)


@pytest.mark.parametrize("steps, tasks", [(1, 1), (7, 3), (10, 5), (50, 7), (9, 9)])
def test_tasks_cover_every_step_once_in_order(steps: int, tasks: int) -> None:
    parts = split_by_time(steps, tasks)
    assert len(parts) == tasks
    assert np.concatenate(parts).tolist() == list(range(steps))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)  # the first ones take the remainder


@pytest.mark.parametrize("steps, tasks", [(3, 4), (3, 0), (0, 1), (3, -1)])
def test_too_many_tasks_or_none(steps: int, tasks: int) -> None:
    with pytest.raises(ValueError, match=f"{tasks} tasks of {steps} iterations"):
        split_by_time(steps, tasks)


def test_label_groups_take_all_their_rows_and_no_other() -> None:
    labels = np.array([0, 2, 1, 1, 3, 0, 2, 9])
    first, second = split_by_label(labels, [[0, 3], [1]])
    assert first.tolist() == [0, 4, 5]
    assert second.tolist() == [2, 3]


def test_label_groups_that_are_wrong_are_named() -> None:
    labels = np.array([0, 1, 1])
    with pytest.raises(ValueError, match=r"\[7\].*the labels are \[0, 1\]"):
        split_by_label(labels, [[0], [7]])
    with pytest.raises(ValueError, match=r"twice in the groups \[\[0\], \[1, 0\]\]"):
        split_by_label(labels, [[0], [1, 0]])


def randomly(items: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    return hold_out_randomly(items, fraction, np.random.default_rng(3))


@pytest.mark.parametrize("hold_out", [hold_out_evenly, randomly])
@pytest.mark.parametrize("count", [2, 3, 7, 10, 31])
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
def test_the_two_parts_share_nothing_and_lose_nothing(hold_out, count, fraction) -> None:
    items = np.arange(count) * 3 + 5
    training, held_out = hold_out(items, fraction)
    assert sorted([*training, *held_out]) == items.tolist()
    assert len(training) >= 1
    assert len(held_out) == min(count - 1, max(1, round(fraction * count)))
    for part in (training, held_out):
        assert part.tolist() == sorted(part)


@pytest.mark.parametrize("hold_out", [hold_out_evenly, randomly])
def test_what_cannot_be_held_out_is_refused(hold_out) -> None:
    for fraction in (0.0, 1.0, -0.2):
        with pytest.raises(ValueError, match="between 0 and 1"):
            hold_out(np.arange(5), fraction)
    with pytest.raises(ValueError, match="use fewer tasks or more data"):
        hold_out(np.arange(1), 0.5)


def test_held_out_steps_are_spread_over_the_task() -> None:
    _, held_out = hold_out_evenly(np.arange(100), 0.2)
    assert set(np.diff(held_out)) == {5}
    assert held_out[0] == 99 - held_out[-1]  # as far from the start as from the end


def test_the_random_part_is_uniform_and_repeats_with_its_generator() -> None:
    generator = np.random.default_rng(0)
    draws = 4000
    counts = np.zeros(10)
    for _ in range(draws):
        counts[hold_out_randomly(np.arange(10), 0.3, generator)[1]] += 1
    deviation = np.sqrt(draws * 0.3 * 0.7)
    assert np.abs(counts - 0.3 * draws).max() < 4.5 * deviation
    first = hold_out_randomly(np.arange(50), 0.3, np.random.default_rng(1))[1]
    again = hold_out_randomly(np.arange(50), 0.3, np.random.default_rng(1))[1]
    other = hold_out_randomly(np.arange(50), 0.3, np.random.default_rng(2))[1]
    assert first.tolist() == again.tolist() != other.tolist()


def validating_randomly(
    items: np.ndarray, fraction: float | None, of: int
) -> tuple[np.ndarray, np.ndarray]:
    return validate_randomly(items, fraction, of, np.random.default_rng(5))


@pytest.mark.parametrize("validate", [validate_evenly, validating_randomly])
@pytest.mark.parametrize("count, expected", [(3, 1), (10, 1), (16, 2), (100, 10)])
def test_what_is_validated_with_is_none_of_what_is_tested_with(validate, count, expected) -> None:
    items = np.arange(count)
    rest, test = hold_out_evenly(items, 0.2)
    training, validation = validate(rest, 0.1, count)
    assert sorted([*training, *validation, *test]) == items.tolist()
    assert len(validation) == expected  # of all, not of what is left
    assert len(training) >= 1
    for fraction in (None, 0.0):
        training, none = validate(rest, fraction, count)
        assert training.tolist() == rest.tolist()
        assert none.tolist() == []


def test_validation_items_are_spread_evenly() -> None:
    training, validation = validate_evenly(np.arange(0, 80, 2), 0.1, 40)
    assert validation.tolist() == [10, 30, 50, 70]
    assert len(training) == 36


@pytest.mark.parametrize("validate", [validate_evenly, validating_randomly])
def test_no_room_to_validate_is_said_with_the_key(validate) -> None:
    with pytest.raises(ValueError, match=r"2 items, of which 1 are not.*data\.split\.validation"):
        validate(np.arange(1), 0.1, 2)
    with pytest.raises(ValueError, match="no room for 6"):
        validate(np.arange(5), 0.6, 10)
    with pytest.raises(ValueError, match="between 0 and 1"):
        validate(np.arange(5), 1.0, 10)
