"""Tasks as windows of iterations."""

from __future__ import annotations

import numpy as np
import pytest

from insituml.data.split import hold_out_evenly, split_by_time
from insituml.data.windows import TaskWindows, Window


@pytest.mark.parametrize("count, tasks, holdout", [(50, 5, 0.2), (33, 5, 0.2), (7, 3, 0.5)])
def test_tasks_and_held_out_steps_are_those_of_the_file_pipeline(count, tasks, holdout) -> None:
    numbers = 30 + 20 * np.arange(count)
    windows = TaskWindows.in_time(numbers.tolist(), tasks, holdout)
    assert len(windows) == tasks
    for k, steps in enumerate(split_by_time(count, tasks)):
        train, test = hold_out_evenly(steps, holdout)
        assert {windows.task_of(i) for i in numbers[steps]} == {k}
        assert windows.held_out.isdisjoint(numbers[train])
        assert windows.held_out.issuperset(numbers[test])
        assert windows.name(k) == f"iterations {numbers[steps[0]]}–{numbers[steps[-1]]}"


def test_an_iteration_between_outputs_belongs_to_the_task_it_lies_in() -> None:
    windows = TaskWindows.in_time(range(0, 1000, 100), 2, 0.2)
    assert [windows.task_of(i) for i in (0, 450, 499, 500, 900)] == [0, 0, 0, 1, 1]
    for outside in (-1, 901):
        with pytest.raises(ValueError, match="outside the tasks, which cover 0 to 900"):
            windows.task_of(outside)


def test_iterations_must_ascend() -> None:
    with pytest.raises(ValueError, match="must ascend"):
        TaskWindows.in_time([0, 2, 1, 3], 2, 0.5)


def test_a_stream_may_say_its_tasks_itself() -> None:
    windows = TaskWindows([Window("a", (0, 1, 2), (0,)), Window("b", (3, 4), (3,))])
    assert [windows.task_of(n) for n in windows.iterations] == [0, 0, 0, 1, 1]
    assert [windows.trained(k) for k in range(2)] == [[1, 2], [4]]
    assert windows.held_out == {0, 3}
    assert windows.count_between(1, 3) == 3
    assert windows.count_through(3) == 4


@pytest.mark.parametrize(
    "numbers, message",
    [
        ((0, 10, 10, 20), "10 follows 10"),
        ((0, 20, 10, 30), "10 follows 20"),
        ((0, 1, 2, 10**25), "iteration 10{25} cannot be stored"),
        ((-5, 1, 2, 3), "iteration -5 cannot be stored"),
    ],
)
def test_numbers_that_are_no_iterations(numbers: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskWindows.in_time(numbers, 2, 0.5)


def test_a_validation_part_takes_from_training_alone() -> None:
    without = TaskWindows.in_time(range(0, 500, 10), 5, 0.2)
    windows = TaskWindows.in_time(range(0, 500, 10), 5, 0.2, 0.1)
    assert windows.held_out == without.held_out
    assert windows.validation.isdisjoint(windows.held_out)
    assert windows.aside == windows.held_out | windows.validation
    for k in range(5):
        trained = set(windows.trained(k))
        assert trained == set(without.trained(k)) - windows.validation
        assert len(without.trained(k)) - len(trained) == 1
