"""The loss matrix R[k, j] as a heat map: one method, or all side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from insituml.plots.arrays import names_of, square_matrices, square_matrix
from insituml.plots.colour_scale import beyond_scale, colour_scale
from insituml.plots.method_style import method_label
from insituml.plots.style import MAX_WIDTH, SEQUENTIAL, compact, look, readable_on, settle

_MANY_TASKS = 12  # beyond this, numbers in the cells become too small to read


@look()
def loss_matrix_heatmap(
    matrix: ArrayLike,
    *,
    task_names: Sequence[str] | None = None,
    title: str = "",
    metric_label: str = "error",
    vmin: float | None = None,
    vmax: float | None = None,
    log: bool = False,
    in_order: bool = True,
    row_label: str = "trained through task",
    column_label: str = "evaluated on task",
) -> Figure:
    """Draw the loss matrix of one method, its diagonal outlined and its values in the cells.

    A cell of the diagonal is the error on a task right after it was learned.

    Parameters
    ----------
    matrix
        ``(K, K)``: error on task j (column) after training through task k (row). NaN is drawn
        as a hatched cell.
    task_names
        K names; numbers from 0 without.
    title
        Above the figure.
    metric_label
        What the values are, with their unit, at the colour bar.
    vmin, vmax
        Ends of the colour scale; those of the matrix without. Hand in the same for several
        methods to compare them.
    log
        Logarithmic colours; values that are not positive take the lowest colour.
    in_order
        Whether tasks were learned one after the other. If not, as in joint training, a row is
        a part of the training on all tasks, and there is no diagonal to outline.
    row_label, column_label
        What rows and columns are.

    Raises
    ------
    ValueError
        If ``matrix`` is not square, the names do not fit it or the colour scale is impossible.
    """
    values = square_matrix(matrix)
    count = len(values)
    columns = names_of(task_names, count)
    rows = columns if in_order else _parts(count)
    norm = colour_scale(values, vmin=vmin, vmax=vmax, log=log)

    side = min(max(0.62 * count, 3.4), 5.8)
    margins = _name_margins(rows, columns)
    figure = Figure(figsize=(side + margins[0] + 1.5, side + margins[1] + (0.7 if title else 0.3)))
    axes = figure.add_subplot()
    image = _draw(
        axes,
        values,
        norm,
        digits=3 if count <= 8 else 2,
        fontsize=9 if count <= 8 else 8,
        outline=1.2 if in_order else 0,
    )
    _name_cells(axes, rows, columns)
    row_label = row_label if in_order else "training on all tasks, up to"
    axes.set(xlabel=column_label, ylabel=row_label)
    if title:
        figure.suptitle(title)
    figure.colorbar(image, ax=axes, label=metric_label, extend=beyond_scale(values, norm), pad=0.02)
    return settle(figure)


@look()
def loss_matrix_grid(
    matrices: Mapping[str, ArrayLike],
    *,
    task_names: Sequence[str] | None = None,
    title: str = "",
    metric_label: str = "error",
    vmin: float | None = None,
    vmax: float | None = None,
    log: bool = False,
    unordered: Collection[str] = (),
    row_label: str = "trained through task",
    column_label: str = "evaluated on task",
) -> Figure:
    """Draw the loss matrices of all methods side by side under one colour scale.

    Parameters
    ----------
    matrices
        Method name to ``(K, K)``: error on task j (column) after training through task k (row).
    unordered
        Methods that do not learn the tasks in order: their rows are parts of the training.
    task_names, title, metric_label, vmin, vmax, log, row_label, column_label
        As for :func:`loss_matrix_heatmap`; without ``vmin`` and ``vmax``, the scale ends at the
        smallest and largest of all matrices.

    Raises
    ------
    ValueError
        If a matrix is not square, or they differ in K, or the names do not fit.
    """
    arrays = square_matrices(matrices)
    stack = np.stack(list(arrays.values()))
    count = stack.shape[-1]
    names = names_of(task_names, count)
    norm = colour_scale(stack, vmin=vmin, vmax=vmax, log=log)

    columns = panel_columns(len(arrays))
    lines = -(-len(arrays) // columns)
    left, bottom = _name_margins(names, names)
    panel = min((MAX_WIDTH - left - 1.4) / columns - 0.15, 2.4)
    figure = Figure(
        figsize=(
            columns * (panel + 0.15) + left + 1.4,
            lines * (panel + 0.38) + bottom + (0.4 if title else 0.1),
        )
    )
    size = panel / count  # of a cell, in inches
    image = None
    for place, (name, values) in enumerate(arrays.items()):
        axes = figure.add_subplot(lines, columns, place + 1)
        image = _draw(
            axes,
            values,
            norm,
            digits=3 if size > 0.5 else 2,
            fontsize=8 if size > 0.5 else 6.5,
            annotate=size > 0.3,
            outline=0 if name in unordered else 1.2 if size > 0.3 else 0.7,
        )
        head = f"{method_label(name)}, by parts" if name in unordered else method_label(name)
        axes.set_title(head, fontsize=9, fontweight="bold")
        # Names below the last line only: elsewhere they would tear the lines apart.
        last = place // columns == lines - 1
        own = _parts(count) if name in unordered else names
        _name_cells(
            axes,
            own if place % columns == 0 else None,
            names if last else None,
            upright=lines > 1,
        )
    assert image is not None
    if title:
        figure.suptitle(title)
    figure.supxlabel(column_label)
    figure.supylabel(row_label)
    figure.colorbar(
        image,
        ax=figure.axes,
        label=metric_label,
        extend=beyond_scale(stack, norm),
        pad=0.015,
        aspect=14 * lines,
        fraction=0.05,
    )
    return settle(figure)


def _parts(count: int) -> list[str]:
    return [f"part {k + 1} of {count}" for k in range(count)]


def panel_columns(count: int) -> int:
    """Return into how many columns ``count`` small panels go: four at most."""
    return {5: 3, 6: 3}.get(count, min(count, 4))


def _draw(
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
        missing = bool(np.isnan(value))
        if missing:
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5),
                    1,
                    1,
                    facecolor="0.93",
                    edgecolor="0.75",
                    hatch="////",
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


def _name_cells(
    axes: Axes,
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    *,
    upright: bool = False,
) -> None:
    """Write the names along the axes; none where another panel carries them.

    Long names stand slanted below few columns. ``upright`` forbids this: slanted names below one
    panel would push it away from its neighbour.
    """
    if rows is None:
        axes.set_yticks([])
    else:
        places = _thinned(len(rows))
        axes.set_yticks(places, [rows[place] for place in places])
    if columns is None:
        axes.set_xticks([])
    else:
        places = _thinned(len(columns))
        axes.set_xticks(places, [columns[place] for place in places])
        if max(len(name) for name in columns) > 3:
            slanted = len(columns) <= 6 and not upright
            axes.tick_params(axis="x", rotation=45 if slanted else 90)
            if slanted:
                for label in axes.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")


def _name_margins(rows: Sequence[str], columns: Sequence[str]) -> tuple[float, float]:
    """Return inches to leave on the left and at the bottom for the names and axis labels."""
    longest = max(len(name) for name in columns)
    below = 0.2 if longest <= 3 else 0.085 * longest * (0.75 if len(columns) <= 6 else 1)
    return 0.085 * max(len(name) for name in rows) + 0.4, below + 0.35


def _thinned(count: int) -> list[int]:
    return list(range(0, count, -(-count // 20)))
