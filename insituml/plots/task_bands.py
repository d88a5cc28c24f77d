"""Tasks along a horizontal axis: every other one shaded, their names above."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes

from insituml.plots.arrays import every_nth
from insituml.plots.style import MAX_WIDTH, SMALL


def draw_task_bands(axes: Axes, edges: Sequence[float], names: Sequence[str]) -> None:
    """Shade every other task of a figure of full width, and name them, ten at most.

    Parameters
    ----------
    axes
        Whose horizontal axis ends at the first and the last edge.
    edges
        Where the tasks begin, and where the last one ends.
    names
        One a task.
    """
    whole = edges[-1] - edges[0]
    narrowest = min(right - left for left, right in pairwise(edges)) / whole * 0.68 * MAX_WIDTH
    crowded = 0.062 * max(len(name) for name in names) > narrowest
    named = every_nth(len(names), 10)
    for task, (left, right) in enumerate(pairwise(edges)):
        if task % 2:
            axes.axvspan(left, right, color="0.95", linewidth=0, zorder=0)
        if task not in named:
            continue
        axes.annotate(
            names[task],
            xy=((left + right) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="left" if crowded else "center",
            va="bottom",
            rotation=25 if crowded else 0,
            rotation_mode="anchor",
            fontsize=SMALL,
            color="0.3",
        )
