"""Rates over errors: what is drawn is what was given, alike in all panels."""

import numpy as np
import pytest

from insituml import plots
from insituml.plots import RateCurve

CURVES = {
    "SZ3": RateCurve([0.01, 0.1], [30, 200]),
    "ZFP": RateCurve([0.01, 0.1], [20, 100]),
    "hybrid": RateCurve([0.05, 0.1], [4000, 9000], [20, 21]),
}


def test_curves_are_those_given_and_errors_are_in_per_cent() -> None:
    axes = plots.rate_distortion_curves({"pic": CURVES}, region=(0.05, 0.15)).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["SZ3"].get_xdata(), [1, 10])
    np.testing.assert_allclose(lines["SZ3"].get_ydata(), [30, 200])
    (broken,) = (line for line in axes.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(broken.get_ydata(), [20, 21])
    assert broken.get_color() == lines["hybrid"].get_color()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_a_compressor_looks_the_same_in_every_panel() -> None:
    other = {"convolutional": CURVES["ZFP"], "hybrid": CURVES["hybrid"], "SZ3": CURVES["SZ3"]}
    figure = plots.rate_distortion_curves({"pic": CURVES, "lwfa": other})
    looks = [
        {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines}
        for axes in figure.axes
    ]
    for name in ("SZ3", "hybrid"):
        assert looks[0][name] == looks[1][name]
    assert len({looks[0][n] for n in CURVES} | {looks[1]["convolutional"]}) == 4
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*CURVES, "convolutional"]


def test_what_broken_lines_are_is_told_where_there_are_any() -> None:
    def said(curves):
        figure = plots.rate_distortion_curves({"pic": curves}, notes=["A note."])
        return " ".join(text.get_text() for text in figure.texts)

    assert "Broken lines: with it" in said(CURVES)
    without = said({"SZ3": CURVES["SZ3"]})
    assert "A note." in without
    assert "Broken" not in without


@pytest.mark.parametrize(
    "panels, problem",
    [
        ({}, "panels are empty"),
        ({"pic": {}}, "panels are empty"),
        ({"pic": {"SZ3": RateCurve([], [])}}, "SZ3 of pic has 0 and 0 numbers"),
        ({"pic": {"SZ3": RateCurve([0.1], [1, 2])}}, "SZ3 of pic has 1 and 2 numbers"),
        ({"pic": {"SZ3": RateCurve([0.1], [1], [])}}, "has 1 and 1 and 0 numbers"),
        ({"pic": {"SZ3": RateCurve([0.0], [1])}}, "not finite and above 0"),
        ({"pic": {"SZ3": RateCurve([0.1], [np.nan])}}, "not finite and above 0"),
    ],
)
def test_numbers_that_make_no_curve(panels, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        plots.rate_distortion_curves(panels)
