"""All methods in one view: how good, how forgetful, at what cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from insituml import gap, metrics
from insituml.metric import Metric
from insituml.plots.leaderboard_rows import Row, ranked
from insituml.plots.method_style import MethodStyle, folded_label, method_styles
from insituml.plots.notes import finish
from insituml.plots.style import MAX_WIDTH, SMALL, compact, human_bytes, look, settle

_WIDTHS = {"error": 1.3, "share": 1.2, "bytes": 0.9}
_LEAST_SHARE = -1.0
"""Where the axis of a share ends; worse ones are numbers at its edge, so that others stay apart."""

_ENDS = {
    gap.REFERENCE: "nothing done against forgetting",
    gap.EQUAL_COMPUTE: "all tasks at once",
    gap.BOUND: "all tasks at once, to the end",
}
_BASELINE = "baseline without training"


@look()
def leaderboard_figure(
    rows: Sequence[Mapping[str, Any]],
    *,
    metric_label: str = "error",
    title: str = "",
    log: bool = False,
    notes: Sequence[str] = (),
) -> Figure:
    """Draw methods from best to worst, one panel each headline metric that has values.

    Error bars are one standard deviation over seeds, which the figure says. Vertical lines mark
    where the reference (nothing done against forgetting), the bounds (all tasks at once) and
    baselines stand.

    Parameters
    ----------
    rows
        One mapping a method with ``method`` and the columns of each headline metric of
        :data:`insituml.metrics.METRICS`, such as ``forgetting`` and ``forgetting_std``. Unknown
        values are None or NaN; further keys are passed over, but for ``seeds``, the number that
        the spread is taken over, and ``is_baseline``.
    metric_label
        What the errors are, with their unit.
    title
        Above the figure.
    log
        Logarithmic axis of the first metric.
    notes
        Sentences below the figure, after its own.

    Raises
    ------
    ValueError
        If there is no row, a key is missing or a method comes twice.
    """
    board = ranked(rows)
    looks = method_styles(row.method for row in board)
    styles = [looks[row.method] for row in board]
    levels = np.arange(len(board))
    shown = [m for m in metrics.headlines() if m.drawn and _tells_something(board, m)]
    shown = shown or list(metrics.headlines()[:1])

    labels = [folded_label(style.label, 1.6) for style in styles]
    tallest = max(label.count("\n") for label in labels)
    figure = Figure(figsize=(MAX_WIDTH, (0.26 + 0.1 * tallest) * len(board) + 1.7))
    widths = [_WIDTHS[metric.kind] for metric in shown]
    panels = figure.subplots(1, len(shown), sharey=True, width_ratios=widths, squeeze=False)[0]
    names = [row.method for row in board]
    for axes, metric in zip(panels, shown, strict=True):
        axes.set_title(metric.label_among(names), fontweight="bold")
        axes.tick_params(axis="y", length=0)
        for level in levels[::2]:
            axes.axhspan(level - 0.5, level + 0.5, color="0.965", linewidth=0, zorder=-1)
        if metric.kind == "bytes":
            _bars(axes, board, styles, metric)
        else:
            logarithmic = log and metric is shown[0]
            _points(axes, board, styles, metric, logarithmic)
            axes.set_xlabel(metric.axis_among(names) or metric_label)
    panels[0].set_yticks(levels, labels)
    panels[0].set_ylim(len(board) - 0.5, -0.5)  # best on top
    keys = _keys(board)
    finish(figure, title, [*_notes(board, shown), *notes], keys=keys)
    return settle(figure)


def _tells_something(board: Sequence[Row], metric: Metric) -> bool:
    """Return whether a metric's panel would show more than dashes and zeros.

    Nobody has the gap where its bound is missing; with a single task nothing is forgotten.
    """
    values = [row.numbers[metric.name] for row in board]
    known = [value for value in values if not math.isnan(value)]
    return any(known) if metric is not metrics.headlines()[0] else bool(known)


def _notes(board: Sequence[Row], shown: Sequence[Metric]) -> list[str]:
    """Say what points and bars are, and what is off the scale."""
    seeds = max(row.seeds for row in board)
    notes = ["One seed: there is no spread to show."]
    if seeds > 1:
        notes = [f"Points are means over {seeds} seeds, bars ± one standard deviation."]
    elif any(math.isfinite(row.numbers[m.columns[-1]]) for row in board for m in shown if m.varies):
        notes = ["Points are means over seeds, bars ± one standard deviation."]
    if any(math.isinf(row.numbers[m.name]) for row in board for m in shown):
        notes.append("∞: not finite, diverged.")
    if any(math.isnan(row.numbers[m.name]) for row in board for m in shown):
        notes.append("–: not known, or without a meaning for the method.")
    return notes


def _points(
    axes: Axes, board: Sequence[Row], styles: Sequence[MethodStyle], metric: Metric, log: bool
) -> None:
    """Draw means and spreads, and where both ends of the gap lie."""
    if log:
        axes.set_xscale("log")
    for level, (row, style) in enumerate(zip(board, styles, strict=True)):
        value, spread = (row.numbers[column] for column in metric.columns)
        if not math.isfinite(value):
            _at_edge(axes, level, compact(value), "0.4")
            continue
        if metric.kind == "share" and value < _LEAST_SHARE:
            _at_edge(axes, level, f"◂ {compact(value, 2)}", style.color)
            continue
        axes.errorbar(
            value,
            level,
            xerr=spread if math.isfinite(spread) else None,
            color=style.color,
            marker=style.marker,
            markersize=5,
            capsize=2.5,
            linestyle="none",
        )
        if row.method in _ENDS or row.is_baseline:
            axes.axvline(
                value, color=style.color, linestyle=style.linestyle, linewidth=1.3, zorder=0.7
            )
    if metric.needs_order:
        axes.axvline(0, color="0.3", linewidth=0.8, zorder=0.6)
    axes.grid(axis="x")
    axes.margins(x=0.08)
    if not log:
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return
    low, high = axes.get_xlim()
    close = high < 30 * low
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if close else (1,), numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value, 1)))
    axes.xaxis.set_minor_locator(NullLocator())


def _bars(axes: Axes, board: Sequence[Row], styles: Sequence[MethodStyle], metric: Metric) -> None:
    """Draw a cost as bars with the number beside each."""
    values = [row.numbers[metric.name] for row in board]
    longest = max((value for value in values if not math.isnan(value)), default=0.0) or 1.0
    for level, (value, style) in enumerate(zip(values, styles, strict=True)):
        if math.isnan(value):
            _at_edge(axes, level, "–", "0.4")
            continue
        axes.barh(level, value, height=0.55, color=style.color, alpha=0.85)
        axes.annotate(
            human_bytes(value),
            xy=(value, level),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
        )
    axes.set_xlim(0, 1.9 * longest)  # room for the numbers
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _at_edge(axes: Axes, level: int, text: str, color: str) -> None:
    """Write what is not on the scale at the left edge."""
    axes.annotate(
        text, xy=(0.03, level), xycoords=("axes fraction", "data"), va="center", color=color
    )


def _keys(board: Sequence[Row]) -> dict[str, Artist]:
    """Return what the vertical lines are."""
    methods = [row.method for row in board]
    meant = {name: what for name, what in _ENDS.items() if name in methods}
    meant |= {row.method: _BASELINE for row in board if row.is_baseline}
    return {
        f"{style.label}: {meant[name]}": Line2D(
            [], [], color=style.color, linestyle=style.linestyle
        )
        for name, style in method_styles(meant).items()
    }
