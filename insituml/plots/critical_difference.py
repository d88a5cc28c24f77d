"""Mean ranks of methods, and which of them do not differ: a diagram of critical differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insituml.plots.method_style import MethodStyle, method_styles
from insituml.plots.notes import finish
from insituml.plots.style import MAX_WIDTH, look, settle

_ROW = 0.2
"""Height of a label, in inches."""
_BAR = 0.09
"""Height of a group's bar."""


@look()
def critical_difference_figure(
    ranks: Mapping[str, float],
    difference: float,
    groups: Sequence[Sequence[str]],
    *,
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Draw methods along an axis of mean ranks, the best on the left.

    Parameters
    ----------
    ranks
        Mean rank of each method, from 1, best, to their number.
    difference
        By how much two ranks must differ to tell the methods apart; drawn to scale.
    groups
        Methods that are not told apart, joined by a bar.
    title
        Above the figure.
    notes
        Sentences below the figure, after its own.

    Raises
    ------
    ValueError
        If there are fewer than two methods, a rank or the difference is not finite, or a group
        names another method.
    """
    _check(ranks, difference, groups)
    ordered = sorted(ranks, key=lambda name: (ranks[name], name))
    styles = method_styles(ordered)
    left = (len(ordered) + 1) // 2
    top = _BAR * (len(groups) + 1) + 0.06  # below the axis, room for the bars
    depth = top + _ROW * left
    figure = Figure(figsize=(MAX_WIDTH, depth + 1.15))
    axes = figure.subplots()
    count, margin = len(ordered), 0.62 * (len(ordered) - 1)
    axes.set_xlim(1 - margin, count + margin)
    axes.set_ylim(depth, -0.42)
    axes.axis("off")
    _scale(axes, count, difference)
    for number, group in enumerate(groups):
        ends = [ranks[name] for name in group]
        axes.plot(
            [min(ends), max(ends)],
            [_BAR * (number + 1)] * 2,
            color="0.15",
            linewidth=3.5,
            solid_capstyle="round",
            gid="group",
        )
    for place, name in enumerate(ordered):
        is_left = place < left
        row = place if is_left else count - 1 - place
        edge = 1 - 0.04 * count if is_left else count + 0.04 * count
        _label(axes, ranks[name], top + _ROW * (row + 0.5), edge, styles[name], is_left)
    told = "Mean ranks, 1 being the best. Bars join methods that are not told apart: their ranks "
    finish(figure, title, [f"{told}differ by less than the critical difference (CD).", *notes])
    return settle(figure)


def _check(ranks: Mapping[str, float], difference: float, groups: Sequence[Sequence[str]]) -> None:
    if len(ranks) < 2:
        raise ValueError(f"ranks of {len(ranks)} method(s); expected two or more")
    if not all(math.isfinite(value) for value in (*ranks.values(), difference)):
        raise ValueError(f"ranks are {dict(ranks)}, difference {difference}; expected numbers")
    if unknown := {name for group in groups for name in group} - ranks.keys():
        raise ValueError(f"groups name {', '.join(sorted(unknown))}; known: {', '.join(ranks)}")


def _scale(axes: Axes, count: int, difference: float) -> None:
    """Draw the axis of ranks, and above it the critical difference."""
    axes.plot([1, count], [0, 0], color="0.3", linewidth=0.9)
    every = math.ceil(count / 12)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [0, -0.05], color="0.3", linewidth=0.7)
        if (rank - 1) % every == 0:
            axes.text(rank, -0.08, f"{rank}", ha="center", va="bottom", color="0.1", fontsize=7.5)
    drawn = min(difference, count - 1)  # with few blocks it may be longer than the axis
    beyond = " (more than the axis)" if difference > drawn else ""
    axes.plot([1, 1 + drawn], [-0.3, -0.3], color="0.15", linewidth=1.3, gid="CD")
    for end in (1, 1 + drawn):
        axes.plot([end, end], [-0.27, -0.33], color="0.15", linewidth=1.3)
    axes.text(1 + drawn / 2, -0.34, f"CD = {difference:.2f}{beyond}", ha="center", va="bottom")


def _label(
    axes: Axes, rank: float, level: float, edge: float, style: MethodStyle, is_left: bool
) -> None:
    """Lead from a rank down and outward to the method's name."""
    axes.plot([rank, rank, edge], [0, level, level], color=style.color, linewidth=0.9)
    axes.plot([rank], [0], color=style.color, marker=style.marker, clip_on=False)
    axes.annotate(
        f"{style.label}  {rank:.2f}" if is_left else f"{rank:.2f}  {style.label}",
        xy=(edge, level),
        xytext=(-3 if is_left else 3, 0),
        textcoords="offset points",
        ha="right" if is_left else "left",
        va="center_baseline",
        color=style.color,
        fontsize=7.5,
        fontweight="bold",
    )
