from __future__ import annotations

import math

import pytest

from insituml import plots

RANKS = {"naive": 3.5, "ewc": 1.25, "agem": 2.0, "der": 3.25}
GROUPS = [["ewc", "agem"], ["agem", "der", "naive"]]


def lines(figure: plots.Figure, gid: str) -> list[list[float]]:
    return [list(line.get_xdata()) for line in figure.axes[0].lines if line.get_gid() == gid]


def test_ranks_bars_and_scale_are_where_they_say() -> None:
    figure = plots.critical_difference_figure(RANKS, 1.6, GROUPS, title="pic")
    assert lines(figure, "group") == [[1.25, 2.0], [2.0, 3.5]]
    ((first, last),) = lines(figure, "CD")
    assert last - first == pytest.approx(1.6)
    points = {
        float(line.get_xdata()[0]) for line in figure.axes[0].lines if len(line.get_xdata()) == 1
    }
    assert points == set(RANKS.values())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"EWC  1.25", "A-GEM  2.00", "3.25  DER", "3.50  naive", "CD = 1.60"} <= set(texts)


def test_a_difference_beyond_the_axis_says_so() -> None:
    figure = plots.critical_difference_figure(RANKS, 7.0, [list(RANKS)])
    assert lines(figure, "CD") == [[1, 4]]
    assert "CD = 7.00 (more than the axis)" in [t.get_text() for t in figure.axes[0].texts]


@pytest.mark.parametrize("count", [2, 24])
def test_all_text_lies_on_the_page(count: int) -> None:
    ranks = {f"a_method_of_a_long_name_{k}": 1 + 0.7 * k for k in range(count)}
    figure = plots.critical_difference_figure(ranks, 1.0, [])
    page = figure.bbox
    for text in [*figure.texts, *figure.axes[0].texts]:
        box = text.get_window_extent()
        assert box.x0 >= page.x0, text
        assert box.x1 <= page.x1, text
        assert box.y0 >= page.y0, text


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"1 method\(s\); expected two"):
        plots.critical_difference_figure({"ewc": 1.0}, 1.0, [])
    with pytest.raises(ValueError, match="expected numbers"):
        plots.critical_difference_figure({"ewc": 1.0, "agem": math.nan}, 1.0, [])
    with pytest.raises(ValueError, match="groups name gpm; known: naive, ewc"):
        plots.critical_difference_figure(RANKS, 1.0, [["gpm"]])


def test_table_of_differences() -> None:
    row = {"method": "agem", "reference": "ewc", "difference": 0.0123, "low": -0.001}
    row |= {"high": 0.0256, "p": 0.04, "p_holm": 0.08, "verdict": "on a par"}
    unknown = dict.fromkeys(("low", "high", "p", "p_holm"), math.nan)
    single = {**row, **unknown, "method": "naive", "difference": -0.5, "verdict": ""}
    small = {**row, "p": 1e-7, "p_holm": 2e-7}
    text = plots.differences_markdown([row, single, small], caption="Said.")
    lines = text.splitlines()
    assert lines[2] == (
        "| A-GEM − EWC | +0.0123 | -1.00e-3 to +0.0256 | 0.040 | 0.080 | on a par |"
    )
    assert lines[3] == "| naive − EWC | -0.500 | – | – | – | – |"
    assert lines[4].count("< 0.001") == 2
    assert lines[-2:] == ["", "Said."]
    assert plots.differences_markdown([], caption="Said.") == "Said.\n"
