"""Clouds of points, beside reconstructions or samples of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from insituml.plots.panel_rows import panel_rows
from insituml.plots.style import look

_ORIGINAL, _MODEL = "#0072B2", "#D55E00"
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
    low, high = np.nanmin(points, axis=(0, 1)), np.nanmax(points, axis=(0, 1))
    size = float(max((high - low).max(), 1e-12)) * (0.5 + _MARGIN)
    middle = (low + high) / 2
    low, high = middle - size, middle + size

    def draw(axes: Axes, row: int, values: np.ndarray) -> None:
        color = _point_color(axes)
        if beneath and color != _ORIGINAL:
            axes.scatter(points[row][:, 0], points[row][:, 1], s=7, linewidths=0, color=_BENEATH)
        axes.scatter(values[:, 0], values[:, 1], s=3, linewidths=0, alpha=0.6, color=color)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        outside = 1 - float(np.mean(((values >= low) & (values <= high)).all(axis=-1)))
        if outside > 0:
            axes.annotate(
                f"{max(100 * outside, 1):.0f} % outside",
                xy=(1, 0),
                xycoords="axes fraction",
                xytext=(-3, 3),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=7,
                color="0.3",
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
            )

    figure, _ = panel_rows(
        points,
        guesses,
        draw,
        row_labels=row_labels,
        column_labels=column_labels,
        learned_at=learned_at,
        title=title,
        panel_ratio=1.0,
        ticks=True,
        keys={"samples": _dot(_MODEL), "originals": _dot(_BENEATH)} if beneath else None,
    )
    figure.supxlabel(axis_labels[0])
    figure.supylabel(axis_labels[1], x=0.008)
    return figure


def _point_color(axes: Axes) -> str:
    spec = axes.get_subplotspec()
    return _ORIGINAL if spec is not None and spec.colspan.start == 0 else _MODEL


def _dot(color: str) -> Line2D:
    return Line2D([], [], color=color, marker="o", markersize=4, linestyle="none")
