"""The figure of a sweep shows every job where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from insituml.plots import sweep_slices


def test_panels_show_all_jobs_and_mark_the_best() -> None:
    columns = {
        "method": ["naive", "ewc", "ewc", "ewc"],
        "method.strength": [None, "1", "10", "1000"],
        "training.epochs": ["2", "2", "2", "2"],
    }
    figure = sweep_slices(columns, [0.5, 0.4, 0.02, 0.3], label="error")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in shown] == ["method", "method.strength"]
    names, strength = shown
    np.testing.assert_array_equal(
        names.lines[0].get_xydata(), [[0, 0.5], [1, 0.4], [1, 0.02], [1, 0.3]]
    )
    np.testing.assert_array_equal(
        strength.lines[0].get_xydata(), [[1, 0.4], [10, 0.02], [1000, 0.3]]
    )
    assert (strength.get_xscale(), strength.get_yscale()) == ("log", "log")
    for axes, x in ((names, 1), (strength, 10)):
        np.testing.assert_array_equal(axes.lines[-1].get_xydata(), [[x, 0.02]])


def test_one_setting_of_numbers_joins_the_best_of_each() -> None:
    figure = sweep_slices({"lr": ["1", "2", "2"], "seed": ["0"] * 3}, [3.0, 2.0, 1.0])
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[1, 3], [2, 1]])


@pytest.mark.parametrize(
    "columns, values, message",
    [
        ({}, [], "values are empty"),
        ({"a": ["1"]}, [float("nan")], "not all finite"),
        ({"a": ["1"]}, [1.0, 2.0], "a has 1 values for 2 jobs"),
    ],
)
def test_what_cannot_be_drawn_is_named(columns, values, message) -> None:
    with pytest.raises(ValueError, match=message):
        sweep_slices(columns, values)
