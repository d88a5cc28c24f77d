from typing import Any

import numpy as np
import pytest
from matplotlib.colors import same_color

from insituml import plots
from insituml.metric import Metric
from insituml.metrics import METRICS


def row(method: str, error: float | None, **others: float | None) -> dict[str, Any]:
    return {
        "method": method,
        "is_bound": method == "joint",
        "final_average_error": error,
        "final_average_error_std": 0.01,
        "forgetting": 0.2,
        "forgetting_std": 0.02,
        "gap_closed": 0.5,
        "gap_closed_std": 0.05,
        "memory_bytes": 2**20,
        "flops": 1.234e10,
        "samples_seen": 640,
        "samples_replayed": 0,
        **others,
    }


ROWS = [
    row("naive", 0.9, forgetting=0.7, gap_closed=1e-17, memory_bytes=0),
    row("ewc", 0.6, forgetting=0.3, gap_closed=0.375),
    row(
        "joint",
        0.1,
        forgetting=None,
        forgetting_std=None,
        gap_closed=1.0,
        memory_bytes=float("nan"),
    ),
    row("agem", 0.5, gap_closed=0.5, memory_bytes=3 * 2**20),
    row("broken", float("nan"), gap_closed=None),
]


def table(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_markdown_ranks_and_formats() -> None:
    cells = table(plots.leaderboard_markdown(ROWS))
    assert cells[0] == [
        "method",
        "final average error",
        "forgetting",
        "gap closed (to joint)",
        *("memory", "FLOPs", "samples seen", "replayed"),
    ]
    assert set("".join(cells[1])) <= {":", "-"}
    assert [line[0] for line in cells[2:]] == ["joint", "A-GEM", "EWC", "naive", "broken"]
    assert {len(line) for line in cells} == {8}
    assert cells[4] == [
        "EWC",
        "0.600 ± 0.010",
        "0.300 ± 0.020",
        "0.375 ± 0.050",
        "**1 MiB**",
        *("12.3 G", "640", "0"),
    ]


def test_markdown_marks_the_best_but_no_reference() -> None:
    cells = table(plots.leaderboard_markdown(ROWS))
    assert cells[3][1] == "**0.500 ± 0.010**"
    assert cells[3][3] == "**0.500 ± 0.050**"
    for reference in (cells[2], cells[5]):
        assert "**" not in "".join(reference)


def test_markdown_shows_missing_values_as_a_dash() -> None:
    cells = table(plots.leaderboard_markdown(ROWS))
    assert cells[2][2] == "–"  # None
    assert cells[2][4] == "–"  # NaN
    assert cells[6][1] == "–"
    assert "nan" not in plots.leaderboard_markdown(ROWS).lower()


def test_markdown_without_spread_shows_the_mean() -> None:
    cells = table(plots.leaderboard_markdown([row("ewc", 0.25, final_average_error_std=None)]))
    assert cells[2][1] == "0.250"


def test_markdown_marks_nothing_where_there_is_no_choice() -> None:
    lone = [row("naive", 0.9, gap_closed=0.0), row("ewc", 0.5), row("joint", 0.1, gap_closed=1.0)]
    assert "**" not in plots.leaderboard_markdown(lone)
    alike = [*lone, row("agem", 0.6)]  # but for the error, as ewc
    marked = [cell for line in table(plots.leaderboard_markdown(alike)) for cell in line]
    assert [cell for cell in marked if "**" in cell] == ["**0.500 ± 0.010**"]


def test_a_gap_that_is_not_closed_is_no_success() -> None:
    rows = [row("ewc", 0.5, gap_closed=-0.2), row("agem", 0.6, gap_closed=-0.4)]
    cells = table(plots.leaderboard_markdown(rows))
    assert [line[3] for line in cells[2:]] == ["-0.200 ± 0.050", "-0.400 ± 0.050"]
    cells = table(plots.leaderboard_markdown([*rows, row("gem", 0.4, gap_closed=0.1)]))
    assert cells[2][3] == "**0.100 ± 0.050**"


def test_other_bounds_do_not_compete_either() -> None:
    bound = {**row("repeat_everything", 0.2, gap_closed=0.9), "is_bound": True}
    cells = table(plots.leaderboard_markdown([bound, row("ewc", 0.5), row("agem", 0.6)]))
    assert cells[2][0] == "repeat everything"
    assert "**" not in "".join(cells[2])
    assert cells[3][1] == "**0.500 ± 0.010**"


def test_a_new_metric_is_a_row_of_the_table(monkeypatch) -> None:
    added = Metric(
        "worst_error",
        "worst error",
        of_run=lambda run: float(run.matrix[-1].max()),
    )
    monkeypatch.setattr("insituml.metrics.METRICS", (*METRICS, added))
    with pytest.raises(ValueError, match="row 'naive' lacks worst_error, worst_error_std"):
        plots.leaderboard_markdown(ROWS)
    rows = [{**r, "worst_error": 2.0, "worst_error_std": 0.25} for r in ROWS]
    cells = table(plots.leaderboard_markdown(rows))
    assert cells[0][-1] == "worst error"
    assert cells[2][-1] == "2.00 ± 0.25"
    assert plots.leaderboard_figure(rows).axes[-1].get_title() == "worst error"


def test_markdown_moves_small_powers_to_the_head() -> None:
    rows = [
        row("ewc", 2.5e-7, final_average_error_std=1e-8),
        row("agem", 1.25e-6, final_average_error_std=2e-8),
        row("sgem", 3e-7, final_average_error_std=1e-8),
    ]
    cells = table(plots.leaderboard_markdown(rows))
    assert cells[0][1] == "final average error (1e-7)"
    assert [line[1] for line in cells[2:]] == ["**2.50 ± 0.10**", "3.00 ± 0.10", "12.50 ± 0.20"]


def test_rounding_noise_is_zero() -> None:
    rows = [row("ewc", 0.5), row("naive", 0.9, gap_closed=-1e-17)]
    assert table(plots.leaderboard_markdown(rows))[3][3] == "0.000 ± 0.050"


def test_figure_has_the_best_on_top() -> None:
    figure = plots.leaderboard_figure(ROWS, metric_label="MSE")
    error = figure.axes[0]
    labels = [label.get_text() for label in error.get_yticklabels()]
    assert labels == ["joint", "A-GEM", "EWC", "naive", "broken"]
    bottom, top = error.get_ylim()
    assert bottom > top  # row 0 is uppermost
    assert {axes.get_ylim() for axes in figure.axes} == {(bottom, top)}


def test_figure_axes_are_labelled() -> None:
    axes = plots.leaderboard_figure(ROWS, metric_label="MSE").axes
    assert [panel.get_title() for panel in axes] == [
        "final average error",
        "forgetting",
        "gap closed (to joint)",
        "memory",
    ]
    assert [panel.get_xlabel() for panel in axes[:3]] == ["MSE", "MSE", "0 = naive, 1 = joint"]


def test_figure_shows_values_spread_and_colours() -> None:
    error = plots.leaderboard_figure(ROWS).axes[0]
    points = {float(box.lines[0].get_xdata()[0]): box for box in error.containers}
    assert sorted(points) == [0.1, 0.5, 0.6, 0.9]
    bars = points[0.6].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(bars[:, 0], [0.59, 0.61])
    assert same_color(points[0.6].lines[0].get_color(), plots.method_styles(["ewc"])["ewc"].color)


def test_figure_marks_the_references() -> None:
    axes = plots.leaderboard_figure(ROWS).axes
    levels = [
        sorted(line.get_xdata()[0] for line in panel.lines if list(line.get_ydata()) == [0, 1])
        for panel in axes[:3]
    ]
    assert levels == [[0.1, 0.9], [0.0, 0.7], [1e-17, 1.0]]  # no forgetting is a level, too
    low, high = axes[2].get_xlim()
    assert low < 0
    assert high > 1


def test_a_baseline_has_a_line_and_wins_where_it_is_the_best() -> None:
    rows = [*ROWS, {**row("incremental_pca", 0.05, forgetting=0.01), "is_baseline": True}]
    figure = plots.leaderboard_figure(rows)
    lines = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [0, 1]]
    assert sorted(line.get_xdata()[0] for line in lines) == [0.05, 0.1, 0.9]
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "incremental PCA: baseline without training" in said
    (cells,) = (c for c in table(plots.leaderboard_markdown(rows)) if c[0] == "incremental PCA")
    assert cells[1] == "**0.050 ± 0.010**"


def test_figure_writes_costs_and_dashes() -> None:
    axes = plots.leaderboard_figure(ROWS).axes
    assert [text.get_text() for text in axes[3].texts] == ["–", "3 MiB", "1 MiB", "0 B", "1 MiB"]


def without_spread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: None if k.endswith("_std") else v for k, v in r.items()} for r in rows]


def test_the_gap_ends_at_the_bound_where_it_is_there() -> None:
    rows = [*ROWS, {**row("joint_converged", 0.05, gap_closed=1.0), "is_bound": True}]
    figure = plots.leaderboard_figure(rows)
    gap = figure.axes[2]
    assert gap.get_title() == "gap closed"
    assert gap.get_xlabel() == "0 = naive, 1 = joint converged"
    assert "joint converged: all tasks at once, to the end" in [
        text.get_text() for text in figure.legends[0].get_texts()
    ]
    assert table(plots.leaderboard_markdown(rows))[0][3] == "gap closed"


def test_figure_says_what_lines_and_bars_are() -> None:
    figure = plots.leaderboard_figure(ROWS, notes=["Normalised."])
    ends = ["naive: nothing done against forgetting", "joint: all tasks at once"]
    assert sorted(text.get_text() for text in figure.legends[0].get_texts()) == sorted(ends)

    def said(rows: list[dict[str, Any]]) -> str:
        return " ".join(reversed([t.get_text() for t in plots.leaderboard_figure(rows).texts]))

    assert "means over seeds, bars ± one standard deviation" in said(ROWS)  # number not known
    assert "means over 3 seeds, bars" in said([{**r, "seeds": 3} for r in ROWS])
    one = without_spread(ROWS)
    assert "One seed: there is no spread to show." in said(one)
    containers = plots.leaderboard_figure(one).axes[0].containers
    assert not any(box.has_xerr for box in containers)
    assert "Normalised." in figure.texts[0].get_text()


def test_markdown_says_what_its_numbers_are() -> None:
    def caption(rows: list[dict[str, Any]], **label: str) -> str:
        return plots.leaderboard_markdown(rows, **label).splitlines()[-1]

    told = caption([{**r, "seeds": 3} for r in ROWS], metric_label="normalised MSE")
    assert told.startswith("Errors: normalised MSE. Mean ± standard deviation over 3 seeds.")
    assert caption(without_spread(ROWS)).startswith("One seed: no spread is known")


@pytest.mark.parametrize("lead, bold", [(0.1, True), (0.02, True), (0.014, False), (0.0, False)])
def test_only_a_lead_beyond_the_spread_is_bold(lead: float, bold: bool) -> None:
    """Both spreads are 0.01: together √2 of that."""
    rows = [row("naive", 0.9), row("ewc", 0.5), row("agem", 0.5 + lead), row("gem", 0.8)]
    cells = table(plots.leaderboard_markdown(rows))
    assert ("**" in cells[2][1]) == bold
    assert not any("**" in line[1] for line in cells[3:])


def test_who_is_no_better_than_nothing_done_is_not_bold() -> None:
    rows = [row("naive", 0.3), row("ewc", 0.5), row("agem", 0.7)]
    assert not any("**" in line[1] for line in table(plots.leaderboard_markdown(rows))[2:])


def test_of_one_seed_no_error_is_bold() -> None:
    cells = table(plots.leaderboard_markdown(without_spread(ROWS)))
    assert not any("**" in cell for line in cells[2:] for cell in line[1:4])
    assert any("**" in line[4] for line in cells[2:])  # what is kept has no spread


def test_diverged_values_are_said() -> None:
    rows = [*ROWS, row("gpm", float("inf"))]
    cells = table(plots.leaderboard_markdown(rows))
    assert cells[6][:2] == ["GPM", "∞"]
    figure = plots.leaderboard_figure(rows)
    assert "∞" in [text.get_text() for text in figure.axes[0].texts]
    assert "∞: not finite, diverged." in " ".join(text.get_text() for text in figure.texts)


def test_panels_that_tell_nothing_are_left_out() -> None:
    alone = [row("naive", 0.3, forgetting=0.0, gap_closed=None, memory_bytes=0)]
    figure = plots.leaderboard_figure(alone)
    assert [axes.get_title() for axes in figure.axes] == ["final average error"]


def test_a_gap_far_below_zero_is_a_number_at_the_edge() -> None:
    gap = plots.leaderboard_figure([*ROWS, row("gpm", 9.0, gap_closed=-123.4)]).axes[2]
    assert [text.get_text() for text in gap.texts if text.get_text() != "–"] == ["◂ -123"]
    assert gap.get_xlim()[0] > -1


def test_all_unknown() -> None:
    nothing = dict.fromkeys(row("x", None), None) | {"method": "x", "is_bound": False}
    figure = plots.leaderboard_figure([nothing])
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["–"]
    assert table(plots.leaderboard_markdown([nothing]))[2] == ["x", *["–"] * 7]


@pytest.mark.parametrize("draw", [plots.leaderboard_figure, plots.leaderboard_markdown])
def test_wrong_rows(draw: Any) -> None:
    with pytest.raises(ValueError, match="rows is empty"):
        draw([])
    with pytest.raises(ValueError, match="'ewc' comes twice"):
        draw([row("ewc", 1), row("ewc", 2)])
    incomplete = row("ewc", 1)
    del incomplete["forgetting"]
    with pytest.raises(ValueError, match="row 'ewc' lacks forgetting; put None"):
        draw([incomplete])


def judged(**verdicts: str) -> list[list[str]]:
    """Return the table of methods whose errors rise by 0.1 in this order, each with its verdict."""
    rows = [
        {**row(name, 0.1 * (k + 1)), "verdict": verdict.replace("_", " ")}
        for k, (name, verdict) in enumerate(verdicts.items())
    ]
    return table(plots.leaderboard_markdown(rows))


def test_verdicts_are_told_in_words_and_decide_what_is_bold() -> None:
    cells = judged(joint="better", ewc="best", agem="on_a_par", gem="worse", naive="worse")
    assert [line[-1] for line in cells] == [
        *("against EWC", "---:"),
        *("better", "best", "on a par", "worse", "worse"),
    ]
    assert ["**" in line[1] for line in cells[2:]] == [False, True, True, False, False]
    assert not any("**" in cell for line in cells for cell in line[2:])


@pytest.mark.parametrize(
    "verdicts",
    [
        {"ewc": "best", "agem": "on_a_par"},  # nobody is left behind
        {"ewc": "best", "naive": "on_a_par", "agem": "worse"},  # nor is who does nothing
    ],
)
def test_where_nobody_leads_nothing_is_bold(verdicts: dict[str, str]) -> None:
    assert "**" not in str(judged(**verdicts))


def test_without_verdicts_there_is_no_such_column() -> None:
    assert len(judged(ewc="", agem="")[0]) == len(judged(ewc="best", agem="worse")[0]) - 1
