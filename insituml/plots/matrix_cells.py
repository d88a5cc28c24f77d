"""The cells of a matrix over tasks: colours, numbers, outlines and names."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from insituml.plots.arrays import every_nth
from insituml.plots.style import SEQUENTIAL, compact, readable_on

_MANY_TASKS = 12  # beyond this, numbers in the cells become too small to read


def draw_cells(
    axes: Axes,
    values: np.ndarray,
    norm: Normalize,
    *,
    digits: int,
    fontsize: float,
    annotate: bool = True,
    outline: float = 1.2,
) -> AxesImage:
    """Paint the cells, write the values, hatch what is missing, outline the diagonal.

    ``outline`` is the width of the lines; 0 for none.
    """
    colors = matplotlib.colormaps[SEQUENTIAL].with_extremes(bad=(0, 0, 0, 0))
    if isinstance(norm, LogNorm):
        shown = np.where(np.isnan(values), np.nan, np.maximum(values, norm.vmin or 0.0))
    else:
        shown = values
    image = axes.imshow(np.ma.masked_invalid(shown), cmap=colors, norm=norm, aspect="equal")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    annotate = annotate and len(values) <= _MANY_TASKS
    for (row, column), value in np.ndenumerate(values):
        missing = not np.isfinite(value)
        if missing:
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5),
                    1,
                    1,
                    facecolor="0.93",
                    edgecolor="0.75",
                    hatch="////" if np.isnan(value) else None,
                    linewidth=0,
                )
            )
        if annotate:
            background = colors(norm(shown[row, column]))
            axes.text(
                column,
                row,
                compact(value, digits),
                ha="center",
                va="center",
                fontsize=fontsize,
                color="0.3" if missing else readable_on(background),
            )
    for place in range(len(values) if outline else 0):
        axes.add_patch(
            Rectangle(
                (place - 0.46, place - 0.46),
                0.92,
                0.92,
                fill=False,
                edgecolor="black",
                linewidth=outline,
                path_effects=[patheffects.withStroke(linewidth=2.4 * outline, foreground="white")],
            )
        )
    return image


def name_cells(
    axes: Axes,
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    *,
    upright: bool = False,
    most: int = 20,
) -> None:
    """Write the names along the axes; none where another panel carries them.

    Long names stand slanted below few columns. ``upright`` forbids this: slanted names below one
    panel would push it away from its neighbour. ``most`` names are written.
    """
    if rows is None:
        axes.set_yticks([])
    else:
        places = every_nth(len(rows), most)
        axes.set_yticks(places, [rows[place] for place in places])
    if columns is None:
        axes.set_xticks([])
    else:
        places = every_nth(len(columns), most)
        axes.set_xticks(places, [columns[place] for place in places])
        if max(len(name) for name in columns) > 3:
            slanted = len(columns) <= 6 and not upright
            axes.tick_params(axis="x", rotation=45 if slanted else 90)
            if slanted:
                for label in axes.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")


def name_margins(rows: Sequence[str], columns: Sequence[str]) -> tuple[float, float]:
    """Return inches to leave on the left and at the bottom for the names and axis labels."""
    longest = max(len(name) for name in columns)
    below = 0.2 if longest <= 3 else 0.066 * longest * (0.75 if len(columns) <= 6 else 1)
    return 0.066 * max(len(name) for name in rows) + 0.4, below + 0.35
