"""Error against memory: what is drawn where, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from insituml.plots import MemoryCurve, memory_curves, method_styles, save

CURVES = {
    "experience_replay": MemoryCurve([0.3, 0.01], [[0.2, 0.4], [0.5, 0.7]], smallest=0.004),
    "replay_latents": MemoryCurve([0.001, 0.0025], [[0.9, 0.9], [0.8, 0.8]]),
    "gpm": MemoryCurve([0.2], [[0.6, float("nan")]]),
}
LEVELS = {"naive": [1.0, 1.2], "joint": [0.1, 0.1]}


def lines(figure: Figure) -> list[tuple[list[float], list[float], str]]:
    (axes,) = figure.axes
    return [
        (
            np.asarray(line.get_xdata(), dtype=float).tolist(),
            np.asarray(line.get_ydata(), dtype=float).tolist(),
            str(line.get_color()),
        )
        for line in axes.get_lines()
    ]


def words(figure: Figure) -> str:
    notes = sorted(figure.texts, key=lambda text: -text.get_position()[1])  # a line each
    return " ".join(text.get_text() for text in [*notes, *figure.axes[0].texts])


def test_lines_are_means_in_percent_of_the_stream() -> None:
    figure = memory_curves(CURVES, LEVELS, metric_label="relative L2 error")
    color = method_styles(["experience_replay"])["experience_replay"].color
    curve, to_bar, bar = (found for found in lines(figure) if found[2] == color)
    assert curve[0] == pytest.approx([1.0, 30.0])  # in order, whatever the order they came in
    assert curve[1] == pytest.approx([0.6, 0.3])
    assert to_bar[:2] == (pytest.approx([0.4, 1.0]), pytest.approx([0.6, 0.6]))
    assert bar[:2] == (pytest.approx([0.4]), pytest.approx([0.6]))
    black = method_styles(["joint"])["joint"].color
    (level,) = (y for _, y, found in lines(figure) if found == black)
    assert level == pytest.approx([0.1, 0.1])
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "relative L2 error" in axes.get_ylabel()


def test_notes_say_what_bars_bands_and_levels_are() -> None:
    said = words(memory_curves(CURVES, LEVELS))
    assert "means over 2 seeds" in said
    assert "A bar is the least that a method can keep: one sample." in said
    assert "Levels, whatever they keep: naive, joint." in said
    assert "GPM is not finite in 1 of 2 seeds" in said
    for label in ("experience replay", "replay latents", "GPM", "naive", "joint"):
        assert label in said
    plain = words(memory_curves({"gpm": MemoryCurve([0.1], [[0.5]])}))
    assert "A bar" not in plain
    assert "Levels" not in plain


@pytest.mark.parametrize("count, bands", [(5, True), (12, False)])
def test_bands_are_drawn_where_the_note_says_so(count: int, bands: bool) -> None:
    curves = {f"method {k}": CURVES["experience_replay"] for k in range(count)}
    figure = memory_curves(curves, {"naive": [1.0, 1.2]})
    drawn = [*figure.axes[0].collections, *figure.axes[0].patches]
    assert len(drawn) == (count + 1 if bands else 0)
    assert ("bands ± one standard deviation" in words(figure)) == bands
    assert ("no spread is drawn" in words(figure)) != bands


def test_without_a_finite_value_the_figure_says_so(tmp_path) -> None:
    figure = memory_curves({"gpm": MemoryCurve([0.1], [[float("nan")]])})
    assert "no finite value" in words(figure)
    assert save(figure, tmp_path / "a.png").exists()


def test_equal_figures_are_equal_files(tmp_path) -> None:
    files = [save(memory_curves(CURVES, LEVELS), tmp_path / f"{k}.png") for k in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "curves, said",
    [
        ({}, "there is no curve"),
        ({"a": MemoryCurve([], [])}, r"expected \(P,\) above 0"),
        ({"a": MemoryCurve([0.0], [[1.0]])}, r"expected \(P,\) above 0"),
        ({"a": MemoryCurve([0.1], [1.0])}, r"errors \(1,\) for 1 shares; expected \(P, seeds\)"),
        ({"a": MemoryCurve([0.1, 0.2], [[1.0]])}, r"errors \(1, 1\) for 2 shares"),
    ],
)
def test_what_cannot_be_drawn_is_refused(curves, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        memory_curves(curves)
