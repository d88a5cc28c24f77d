"""Clouds of points, beside reconstructions or samples of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from insituml.plots.example_arrays import Examples
from insituml.plots.panel_rows import panel_rows, say_not_finite, say_on_panel
from insituml.plots.style import MODEL, ORIGINAL, look

_BENEATH = "0.78"
_MARGIN = 0.25  # around the original point clouds, as a part of their extent


@look()
def point_clouds(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    learned_at: Sequence[int] | None = None,
    axis_labels: tuple[str, str] = ("x", "y"),
    title: str = "",
    beneath: bool = False,
) -> Figure:
    """Draw points in the plane, originals on the left, then what the model makes of them.

    All panels share their axes, which frame the originals. Where points of the model fall
    outside, the panel says how many.

    Parameters
    ----------
    originals
        ``(n_rows, n, 2)``.
    reconstructions
        ``(n_rows, K, n, 2)``: points by the model after each of K tasks; their number may differ
        from the originals'.
    row_labels, column_labels, learned_at, title
        As for :func:`reconstruction_grid`.
    axis_labels
        Names of the two coordinates, with their units.
    beneath
        Draw the originals in grey beneath the points of the model, which are called samples.

    Raises
    ------
    ValueError
        If the shapes do not fit each other or the labels.
    """
    points = np.asarray(originals, dtype=float)
    guesses = np.asarray(reconstructions, dtype=float)
    if points.ndim != 3 or points.shape[-1] != 2 or points.size == 0:
        raise ValueError(f"originals must have shape (n_rows, n, 2), got {points.shape}")
    if guesses.ndim != 4 or guesses.shape[-1] != 2 or len(guesses) != len(points):
        raise ValueError(
            f"reconstructions must have shape (n_rows, K, n, 2) with n_rows = {len(points)} as "
            f"the originals, got {guesses.shape}"
        )
    examples = Examples.chosen(points, guesses, row_labels, column_labels, learned_at)
    low, high = _square_around(examples.originals)

    def draw(axes: Axes, row: int, column: int) -> None:
        values = examples.panel(row, column)
        if beneath and column:
            x, y = examples.originals[row].T
            axes.scatter(x, y, s=5, linewidths=0, color=_BENEATH)
        color = MODEL if column else ORIGINAL
        axes.scatter(values[:, 0], values[:, 1], s=2, linewidths=0, alpha=0.6, color=color)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        finite = values[np.isfinite(values).all(axis=-1)]
        if len(finite) < len(values):
            say_not_finite(axes, values)
        elif outside := 1 - float(np.mean(((values >= low) & (values <= high)).all(axis=-1))):
            say_on_panel(axes, f"{max(100 * outside, 1):.0f} % outside")

    keys = {"originals": ORIGINAL, ("samples" if beneath else "reconstructions"): MODEL}
    if beneath:
        keys["the row's originals"] = _BENEATH
    figure, _ = panel_rows(
        examples.columns()[:-1],
        examples.row_labels,
        draw,
        learned_at=examples.learned_at,
        title=title,
        panel_ratio=1.0,
        axis_labels=axis_labels,
        notes=["All panels share their axes.", *examples.notes],
        keys={name: _dot(color) for name, color in keys.items()},
    )
    return figure


def _square_around(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a square that frames all finite points, with a margin."""
    finite = points[np.isfinite(points).all(axis=-1)]
    if not len(finite):
        return np.full(2, -1.0), np.full(2, 1.0)
    low, high = finite.min(axis=0), finite.max(axis=0)
    size = float(max((high - low).max(), 1e-12)) * (0.5 + _MARGIN)
    middle = (low + high) / 2
    return middle - size, middle + size


def _dot(color: str) -> Line2D:
    return Line2D([], [], color=color, marker="o", markersize=4, linestyle="none")
