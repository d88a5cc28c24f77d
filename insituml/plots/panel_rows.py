"""One row of panels an original: it, then what the model made of it after each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from insituml.plots.arrays import names_of
from insituml.plots.style import MAX_WIDTH

_DASHES = (0, (3, 2))


def panel_rows(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    draw: Callable[[Axes, int, np.ndarray], None],
    *,
    row_labels: Sequence[str] | None,
    column_labels: Sequence[str] | None,
    learned_at: Sequence[int] | None,
    title: str,
    panel_ratio: float,
    ticks: bool,
    own_axes: bool = False,
    right: float = 0.12,
    keys: Mapping[str, Line2D] | None = None,
) -> tuple[Figure, np.ndarray]:
    """Lay out one row an original, with labels and frames; ``draw`` fills the panels.

    Rows share the numbers below the last one, unless they have ``own_axes``. ``keys`` come into
    the legend.
    """
    n_rows, count = reconstructions.shape[:2]
    rows = names_of(row_labels, n_rows, "row_labels")
    columns = names_of(
        [f"after task {task}" for task in range(count)] if column_labels is None else column_labels,
        count,
        "column_labels",
    )
    if learned_at is not None and len(learned_at) != n_rows:
        raise ValueError(
            f"learned_at must hold one column for each of {n_rows} rows, got {list(learned_at)}"
        )

    # Sizes in inches. A hundred panels would take a layout engine tens of seconds.
    gap = 0.13
    between = 0.3 if own_axes else gap  # rows
    longest = max(len(line) for row in rows for line in row.splitlines() or [""])
    left = 0.075 * longest + (0.65 if ticks else 0.15)
    panel = min((MAX_WIDTH - left - right) / (count + 1) - gap, 2.0 if ticks else 1.2)
    head = max((len(column) for column in columns), default=0) * 0.085 > panel
    top = (0.36 if title else 0.1) + (0.4 if head else 0.24)
    top = max(top, 0.55) if right > 0.5 else top  # two lines above the colour bars
    bottom = 0.58 if ticks else 0.35
    width = left + (count + 1) * (panel + gap) - gap + right
    height = top + n_rows * (panel * panel_ratio + between) - between + bottom
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    panels = figure.subplots(
        n_rows,
        count + 1,
        squeeze=False,
        gridspec_kw={
            "left": left / width,
            "right": 1 - right / width,
            "top": 1 - top / height,
            "bottom": bottom / height,
            "wspace": gap / panel,
            "hspace": between / (panel * panel_ratio),
        },
    )
    unseen = False
    for (row, column), axes in np.ndenumerate(panels):
        draw(axes, row, originals[row] if column == 0 else reconstructions[row, column - 1])
        axes.spines[:].set_visible(True)
        hidden = column > 0 and learned_at is not None and column - 1 < learned_at[row]
        if hidden:  # off the panel, to be seen on dark images too
            axes.spines[:].set_position(("outward", 2.5))
            axes.spines[:].set(color="0.45", linestyle=_DASHES, linewidth=1.0)
            unseen = True
        axes.tick_params(labelsize=8, length=2)
        if ticks and (own_axes or row == n_rows - 1):
            axes.xaxis.set_major_locator(MaxNLocator(3, prune="upper"))
        else:
            axes.set_xticks([])
        if ticks and column == 0:
            axes.yaxis.set_major_locator(MaxNLocator(3 if panel * panel_ratio > 0.6 else 2))
        else:
            axes.set_yticks([])
        if column == 0:
            axes.set_ylabel(rows[row], rotation=0, ha="right", va="center", fontsize=9)
            axes.spines[:].set_linewidth(1.6)
        if row == 0:
            label = "original" if column == 0 else columns[column - 1]
            if head and column:  # too long for one line
                label = "\n".join(label.rsplit(" ", 1))
            axes.set_title(label, fontsize=9, fontweight="bold" if column == 0 else "normal")
    if title:
        figure.suptitle(title, y=1 - 0.1 / height)
    legend = dict(keys or {})
    if unseen:
        frame = Line2D([], [], color="0.45", linestyle=_DASHES, linewidth=1.0)
        legend["row's task not yet seen"] = frame
    if legend:
        figure.legend(
            [*legend.values()],
            [*legend],
            loc="lower right",
            ncols=len(legend),
            fontsize=8,
            handlelength=3,
            borderaxespad=0.2,
        )
    return figure, panels
