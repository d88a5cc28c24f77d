"""What a model still makes of each task's images: originals beside reconstructions over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from insituml.plots.example_arrays import Examples
from insituml.plots.panel_rows import panel_rows, say_on_panel
from insituml.plots.style import look


@look()
def image_grid(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    learned_at: Sequence[int] | None = None,
    title: str = "",
) -> Figure:
    """Draw images such as digits, originals on the left, then their reconstructions over time.

    One grey scale for all, from the smallest to the largest value of the originals. Colours are
    red, green and blue from 0 to 1, and cut off there. NaN is left white.

    Parameters
    ----------
    originals
        ``(n_rows, H, W)``, or ``(n_rows, H, W, 3)`` in colour.
    reconstructions
        ``(n_rows, K, H, W)``, or with a last axis of 3: the same images by the model after each of
        K tasks.
    row_labels, column_labels, learned_at, title
        As for :func:`reconstruction_grid`.

    Raises
    ------
    ValueError
        If the shapes do not fit each other or the labels.
    """
    colour = np.ndim(originals) == 4
    examples = Examples.of(
        originals,
        reconstructions,
        ("H", "W"),
        row_labels,
        column_labels,
        learned_at,
        last=(3,) if colour else (),
    )
    finite = examples.originals[np.isfinite(examples.originals)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)

    def draw(axes: Axes, row: int, column: int) -> None:
        values = examples.panel(row, column)
        # Between images there is NaN, in the original too.
        if (np.isfinite(examples.originals[row]) & ~np.isfinite(values)).any():
            say_on_panel(axes, "not finite")
        if colour:  # where neither limits nor NaN have an effect
            values = np.nan_to_num(np.clip(values, 0, 1), nan=1.0)
        axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="nearest")

    figure, _ = panel_rows(
        examples.columns()[:-1],
        examples.row_labels,
        draw,
        learned_at=examples.learned_at,
        title=title,
        panel_ratio=examples.originals.shape[1] / examples.originals.shape[2],
        notes=["" if colour else "All panels share one grey scale.", *examples.notes],
    )
    return figure
