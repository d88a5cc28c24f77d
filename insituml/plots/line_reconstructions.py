"""What a model still makes of each task's field along a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from insituml.plots.example_arrays import Examples, Limits
from insituml.plots.panel_rows import panel_rows, say_not_finite, say_on_panel
from insituml.plots.style import MODEL, ORIGINAL, SMALL, compact, look
from insituml.plots.units import in_brackets, scaled_unit

_MARGIN = 1.25
"""Where vertical axes end, as a multiple of the originals' largest magnitude."""
_ERROR = "#7B3294"


@look()
def reconstruction_lines(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    learned_at: Sequence[int] | None = None,
    extent: ArrayLike | None = None,
    axis_label: str = "x",
    unit: str = "",
    component: str = "field",
    title: str = "",
) -> Figure:
    """Draw one component of a field along a line, its reconstructions over time, and the error.

    One row an original, one panel a reconstruction with the original beneath it. Limits are those
    of :func:`reconstruction_grid`; the vertical axis is the field. The error in the last column,
    last reconstruction − original, has an axis of its own.

    Parameters
    ----------
    originals
        ``(n_rows, n)``.
    reconstructions
        ``(n_rows, K, n)``: the same fields by the model after each of K tasks.
    extent
        ``(left, right)`` in metres, at the outer edges of the first and the last cell; or
        ``(n_rows, 2)``, that of each row. Without, the axis counts points.
    axis_label
        Name of the axis.
    row_labels, column_labels, learned_at, unit, component, title
        As for :func:`reconstruction_grid`.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, the labels or the extent.
    """
    examples = Examples.of(
        originals, reconstructions, ("n",), row_labels, column_labels, learned_at
    )
    count = examples.originals.shape[1]
    ends = np.asarray((-0.5, count - 0.5) if extent is None else extent, dtype=float)
    if ends.shape not in ((2,), (examples.given, 2)):
        raise ValueError(
            f"extent must be (left, right), or one of these for each of {examples.given} rows, "
            f"got an array of shape {ends.shape}"
        )
    ends = np.broadcast_to(ends, (examples.given, 2))[examples.rows]
    meters, length = (1.0, "points") if extent is None else scaled_unit("m", np.abs(ends).max())
    ends = ends / meters
    fields, errors = Limits.of_fields(examples), Limits.of_errors(examples, shared=True)
    factor, name = scaled_unit(unit, fields.largest)
    columns = examples.columns()[1:]
    columns[-1] = replace(columns[-1], room=0.42)

    def draw(axes: Axes, row: int, column: int) -> None:
        is_error = column == len(columns) - 1
        left, right = ends[row]
        cell = (right - left) / count
        where = left + cell * (np.arange(count) + 0.5)
        values = examples.panel(row, column + 1) / factor
        if is_error:
            limit = errors.largest / factor
            axes.axhline(0, color="0.8", linewidth=0.6)
            axes.plot(where, values, color=_ERROR, linewidth=0.9)
        else:
            limit = fields.of_row[row] / factor
            axes.plot(where, examples.originals[row] / factor, color=ORIGINAL, linewidth=1.8)
            axes.plot(where, values, color=MODEL, linewidth=0.9)
        axes.set(xlim=(left, right), ylim=(-_MARGIN * limit, _MARGIN * limit))
        finite = values[np.isfinite(values)]
        if finite.size < values.size:
            say_not_finite(axes, values)
        elif np.abs(finite).max() > _MARGIN * limit:
            say_on_panel(axes, "off the scale")

    apart = float(np.ptp(ends, axis=0).max())
    figure, panels = panel_rows(
        columns,
        examples.row_labels,
        draw,
        learned_at=examples.learned_at,
        title=title,
        panel_ratio=0.75,
        axis_labels=(in_brackets(axis_label, length), in_brackets(component, name)),
        own_axes=apart > 0.01 * abs(ends[0, 1] - ends[0, 0]),
        notes=[
            fields.in_words("vertical axis"),
            "Errors have an axis of their own.",
            *examples.notes,
        ],
        keys={
            "original": Line2D([], [], color=ORIGINAL, linewidth=1.8),
            "reconstruction": Line2D([], [], color=MODEL, linewidth=0.9),
            "error": Line2D([], [], color=_ERROR, linewidth=0.9),
        },
    )
    for axes in panels[:, -1]:  # on their own scale, so with numbers of their own
        high = axes.get_ylim()[1] / _MARGIN
        axes.yaxis.tick_right()
        axes.set_yticks([-high, 0, high], [compact(value, 2) for value in (-high, 0, high)])
        axes.tick_params(axis="y", labelsize=SMALL, length=2, pad=1.5)
    return figure
