"""The loss matrix R[k, j] as a heat map: one method, or all side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from insituml.plots.arrays import names_of, square_matrices, square_matrix
from insituml.plots.colour_scale import beyond_scale, colour_scale
from insituml.plots.matrix_cells import draw_cells, name_cells, name_margins
from insituml.plots.method_style import folded_label
from insituml.plots.notes import finish
from insituml.plots.style import MAX_WIDTH, SMALL, look, plain_log_numbers, settle

_OUTLINED = "Outlined: a task right after it was learned."


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
    notes: Sequence[str] = (),
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
    notes
        Sentences below the figure, before its own.

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

    margins = name_margins(rows, columns)
    beside = margins[0] + 1.2
    side = min(max(0.5 * count, 2.8), MAX_WIDTH - beside)
    figure = Figure(figsize=(side + beside, side + margins[1] + (0.75 if title else 0.45)))
    axes = figure.add_subplot()
    image = draw_cells(
        axes,
        values,
        norm,
        digits=3 if count <= 8 else 2,
        fontsize=8 if count <= 8 else SMALL,
        outline=1.2 if in_order else 0,
    )
    name_cells(axes, rows, columns, most=int(side / 0.14))
    row_label = row_label if in_order else "training on all tasks, up to"
    axes.set(xlabel=column_label, ylabel=row_label)
    finish(figure, title, [*notes, _OUTLINED if in_order else "", *_missing(values)])
    _colour_bar(figure, image, values, metric_label, pad=0.02)
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
    notes: Sequence[str] = (),
) -> Figure:
    """Draw the loss matrices of all methods side by side under one colour scale.

    Parameters
    ----------
    matrices
        Method name to ``(K, K)``: error on task j (column) after training through task k (row).
    unordered
        Methods that do not learn the tasks in order: their rows are parts of the training, and
        they come last.
    task_names, title, metric_label, vmin, vmax, log, row_label, column_label, notes
        As for :func:`loss_matrix_heatmap`; without ``vmin`` and ``vmax``, the scale ends at the
        smallest and largest of all matrices.

    Raises
    ------
    ValueError
        If a matrix is not square, or they differ in K, or the names do not fit.
    """
    arrays = square_matrices(matrices)
    # Names stand at the left of a line for all its panels: those with other rows come last.
    arrays = dict(sorted(arrays.items(), key=lambda item: item[0] in unordered))
    stack = np.stack(list(arrays.values()))
    count = stack.shape[-1]
    names = names_of(task_names, count)
    norm = colour_scale(stack, vmin=vmin, vmax=vmax, log=log)

    columns = panel_columns(len(arrays))
    lines = -(-len(arrays) // columns)
    left, bottom = name_margins(names, names)
    apart = 0.45 if unordered else 0.15  # room for the names of parts
    panel = min((MAX_WIDTH - left - 1.0) / columns - apart, 2.2)
    width = columns * (panel + apart) + left + 1.0
    figure = Figure(
        figsize=(width, lines * (panel + 0.36) + bottom + (0.75 if title else 0.45)),
    )
    size = panel / count  # of a cell, in inches
    image = None
    for place, (name, values) in enumerate(arrays.items()):
        axes = figure.add_subplot(lines, columns, place + 1)
        image = draw_cells(
            axes,
            values,
            norm,
            digits=3 if size > 0.5 else 2,
            fontsize=SMALL,
            annotate=size > 0.29,
            outline=0 if name in unordered else 1.2 if size > 0.3 else 0.7,
        )
        head = folded_label(name, panel, ", by parts" if name in unordered else "")
        axes.set_title(head, fontsize=8, fontweight="bold")
        # Names below the last line only: elsewhere they would tear the lines apart.
        last = place // columns == lines - 1
        rows = names if place % columns == 0 else None
        name_cells(
            axes,
            [f"{k + 1}/{count}" for k in range(count)] if name in unordered else rows,
            names if last or place + columns >= len(arrays) else None,
            upright=lines > 1,
            most=int(panel / 0.14),
        )
    assert image is not None
    parts = f"Rows 1/{count} to {count}/{count} are parts of the training on all tasks at once."
    said = [*notes, _OUTLINED if set(arrays) - set(unordered) else ""]
    said += [parts if set(arrays) & set(unordered) else "", *_missing(stack)]
    finish(figure, title, said, x_label=column_label)
    figure.supylabel(row_label if set(arrays) - set(unordered) else "part of the training")
    _colour_bar(figure, image, stack, metric_label, pad=0.015, aspect=14 * lines, fraction=0.05)
    return settle(figure)


def _colour_bar(
    figure: Figure, image: AxesImage, values: np.ndarray, label: str, **place: Any
) -> None:
    """Draw the colour bar of all panels, with arrows where ``values`` lie beyond it."""
    extend = beyond_scale(values, image.norm)
    bar = figure.colorbar(image, ax=figure.axes, label=label, extend=extend, **place)
    if isinstance(image.norm, LogNorm):
        plain_log_numbers(bar.ax.yaxis)


def _missing(values: np.ndarray) -> list[str]:
    """Say what hatched and saturated cells are, where there are any."""
    notes = ["Hatched: no value."] if np.isnan(values).any() else []
    return [*notes, "∞: not finite, diverged."] if np.isinf(values).any() else notes


def _parts(count: int) -> list[str]:
    return [f"part {k + 1} of {count}" for k in range(count)]


def panel_columns(count: int) -> int:
    """Return into how many columns ``count`` small panels go: two to four of several."""
    return 2 if count == 4 else min(count, 3) if count <= 12 else 4
