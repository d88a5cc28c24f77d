"""One number for each iteration of each simulation, and the tasks made of them."""

from __future__ import annotations

import pytest

from insituml.data.ensemble import Ensemble, Simulation, ensemble_windows, numbered
from insituml.data.windows import TaskWindows

ITERATIONS = range(0, 100, 10)


@pytest.mark.parametrize("tasks, count", [("time", 2), ("none", 1), ("simulation", 3)])
def test_every_iteration_has_its_task_and_is_held_out_with_all_others(tasks, count) -> None:
    one = TaskWindows.in_time(ITERATIONS, 2 if tasks == "time" else 1, 0.3, 0.2)
    ensemble = numbered(3, one.last, tasks)
    windows = ensemble_windows(one, ensemble, 3, ["low"])
    assert len(windows) == count
    assert len(windows.iterations) == 3 * len(ITERATIONS)
    for simulation in range(3):
        for iteration in ITERATIONS:
            number = ensemble.number(simulation, iteration)
            assert ensemble.place(number) == (simulation, iteration)
            task = simulation if tasks == "simulation" else one.task_of(iteration)
            assert windows.task_of(number) == task
            assert (number in windows.held_out) == (iteration in one.held_out)
            assert (number in windows.validation) == (iteration in one.validation)
    if tasks == "simulation":
        assert [windows.name(k) for k in range(3)] == ["low", "simulation 1", "simulation 2"]


def test_tables_name_the_parameters_that_differ() -> None:
    two = [Simulation("a", {"a0": 1.0, "density": 4e24}), Simulation("b", {"a0": 2.5, "seed": 3.0})]
    titles = ["a (a0=1, density=4e+24)", "b (a0=2.5, seed=3)"]
    assert Ensemble(2, False, tuple(two)).titles() == titles
    alike = [Simulation(name, {"a0": 1.0}) for name in "ab"]
    assert Ensemble(2, False, tuple(alike)).titles() == ["a", "b"]


@pytest.mark.parametrize("tasks, place", [("time", (3, 10)), ("simulation", (0, 100))])
def test_numbers_outside_are_refused(tasks, place) -> None:
    with pytest.raises(ValueError, match="is outside the ensemble"):
        numbered(3, 90, tasks).number(*place)
