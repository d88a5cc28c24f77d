"""What a model still makes of each task's field: originals beside reconstructions over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from insituml.plots.example_arrays import Examples, Limits
from insituml.plots.panel_rows import panel_rows, say_not_finite
from insituml.plots.style import DIVERGING, SMALL, compact, look
from insituml.plots.units import in_brackets, scaled_unit

ERRORS = "PuOr_r"
"""Colours of errors: others than those of fields, as they have another scale."""
_UNSEEN = 0.01
"""Rows whose axes differ by less than this part of their length share the numbers below them."""
_BAR = 0.62  # inches for a colour bar and its numbers


@look()
def reconstruction_grid(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    learned_at: Sequence[int] | None = None,
    extent: ArrayLike | None = None,
    axis_labels: tuple[str, str] = ("x", "y"),
    unit: str = "",
    component: str = "field",
    title: str = "",
) -> Figure:
    """Draw one field component: originals, reconstructions over time, and the final error.

    Originals and reconstructions have one colour scale, symmetric around zero. It ends at the
    99.5th percentile of the originals' magnitude: single hot points do not wash out the rest, and
    a reconstruction that blows up shows as saturated. All rows share it, so that amplitudes can
    be compared down a column, but where they differ more than tenfold each row has its own; the
    figure says which. The errors in the last column, last reconstruction − original, have a
    scale of their own. Of more than six tasks or reconstructions six are drawn.

    Parameters
    ----------
    originals
        ``(n_rows, H, W)``; the last axis is horizontal, so make it the long one.
    reconstructions
        ``(n_rows, K, H, W)``: the same fields by the model after each of K tasks.
    row_labels
        What each row is, such as its task's name; numbers from 0 without.
    column_labels
        K labels; "after task 0", ... without.
    learned_at
        For each row the column from which on its task had been trained; that panel is outlined.
        Pass ``range(K)`` where row i shows task i.
    extent
        ``(left, right, bottom, top)`` in metres; or ``(n_rows, 4)``, that of each row, whose axes
        then have numbers of their own where they differ. Without, axes count points.
    axis_labels
        Names of the horizontal and the vertical axis.
    unit
        SI unit of the field, such as ``"V/m"``; a prefix or a power of ten joins it.
    component
        Name of the field component, at the colour bars.
    title
        Above the figure.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, the labels or the extent.
    """
    examples = Examples.of(
        originals, reconstructions, ("H", "W"), row_labels, column_labels, learned_at
    )
    height, width = examples.originals.shape[1:]
    boxes = _boxes(extent, examples.given, (-0.5, width - 0.5, -0.5, height - 0.5))[examples.rows]
    meters, length = (1.0, "points") if extent is None else scaled_unit("m", np.abs(boxes).max())
    boxes = boxes / meters
    fields = Limits.of_fields(examples)
    errors = Limits.of_errors(examples, shared=fields.shared)
    scales = [scaled_unit(unit, limits.largest) for limits in (fields, errors)]
    images: dict[tuple[int, int], AxesImage] = {}
    last = 1 + examples.count

    def draw(axes: Axes, row: int, column: int) -> None:
        is_error = column == last
        factor = scales[is_error][0]
        limit = (errors if is_error else fields).of_row[row] / factor
        values = examples.panel(row, column)
        images[row, column] = axes.imshow(
            values / factor,
            cmap=ERRORS if is_error else DIVERGING,
            vmin=-limit,
            vmax=limit,
            origin="lower",
            extent=tuple(boxes[row]),
            aspect="auto",
            interpolation="nearest",
        )
        say_not_finite(axes, values)

    columns = examples.columns()
    columns[-2:] = [replace(column, room=_BAR) for column in columns[-2:]]
    left, right, bottom, top = boxes[0]
    ratio = abs((top - bottom) / (right - left))
    apart = float(np.ptp(boxes[:, :2], axis=0).max())
    figure, panels = panel_rows(
        columns,
        examples.row_labels,
        draw,
        learned_at=examples.learned_at,
        title=title,
        panel_ratio=min(max(ratio, 0.42), 1.3),
        axis_labels=(in_brackets(axis_labels[0], length), in_brackets(axis_labels[1], length)),
        own_axes=apart > _UNSEEN * abs(right - left),
        notes=[fields.in_words("colour scale"), "Errors have another scale.", *examples.notes],
    )
    for column, limits, (factor, name) in (
        (last - 1, fields, scales[0]),
        (last, errors, scales[1]),
    ):
        label = in_brackets(component if column < last else f"error of {component}", name)
        beyond = [
            limits.exceeded(examples, row, is_error=limits is errors) for row in examples.each
        ]
        if limits.shared:
            place = (panels[-1, column], panels[0, column])
            _bar(figure, images[0, column], place, limits.largest / factor, any(beyond), label)
            continue
        for row in examples.each:
            place = (panels[row, column], panels[row, column])
            limit = limits.of_row[row] / factor
            _bar(figure, images[row, column], place, limit, beyond[row], label if row == 0 else "")
    return figure


def _bar(
    figure: Figure,
    image: AxesImage,
    between: tuple[Axes, Axes],
    limit: float,
    beyond: bool,
    label: str,
) -> None:
    """Draw the colour bar of the panels from the lower to the upper one, its label along it."""
    low, high = (axes.get_position() for axes in between)
    inch = 1 / figure.get_figwidth()
    tall = (high.y1 - low.y0) * figure.get_figheight()
    axes = figure.add_axes((high.x1 + 0.06 * inch, low.y0, 0.09 * inch, high.y1 - low.y0))
    bar = figure.colorbar(image, cax=axes, extend="both" if beyond else "neither")
    if tall > 0.42:
        bar.set_ticks([-limit, 0, limit], labels=[compact(v, 2) for v in (-limit, 0, limit)])
    else:  # no room for three numbers
        bar.set_ticks([0], labels=[f"±{compact(limit, 2)}"])
    axes.tick_params(labelsize=SMALL, length=2, pad=1.5)
    if label and tall > 0.068 * len(label):
        axes.set_ylabel(label, fontsize=SMALL, labelpad=1)
    elif label:
        figure.text(
            high.x1 + _BAR * inch,
            high.y1 + 0.03 / figure.get_figheight(),
            label.replace(" of ", "\nof ").replace(" [", "\n["),
            fontsize=SMALL,
            ha="right",
            va="bottom",
        )


def _boxes(extent: ArrayLike | None, n_rows: int, points: tuple[float, ...]) -> np.ndarray:
    """Return (left, right, bottom, top) of each row."""
    boxes = np.asarray(points if extent is None else extent, dtype=float)
    if boxes.shape not in ((4,), (n_rows, 4)):
        raise ValueError(
            f"extent must be (left, right, bottom, top), or one of these for each of {n_rows} "
            f"rows, got an array of shape {boxes.shape}"
        )
    return np.broadcast_to(boxes, (n_rows, 4))
