"""What a model still makes of each task's data: originals beside reconstructions over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from insituml.plots.panel_rows import panel_rows
from insituml.plots.style import DIVERGING, compact, look

_ROBUST_PERCENTILE = 99.5
_UNSEEN = 0.01
"""Rows whose axes differ by less than this part of their length share the numbers below them."""


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
    """Draw one field component, originals on the left, then its reconstructions over time.

    Every row has one colour scale for original and reconstructions, symmetric around zero. It
    ends at the 99.5th percentile of the original's magnitude: single hot points do not wash out
    the rest, and a reconstruction that blows up shows as saturated.

    Parameters
    ----------
    originals
        ``(n_rows, H, W)``; the last axis is horizontal, so make it the long one.
    reconstructions
        ``(n_rows, K, H, W)``: the same fields by the model after each of K tasks.
    row_labels
        What each row is, such as its task's name.
    column_labels
        K labels; "after task 0", ... without.
    learned_at
        For each row the column from which on its task had been trained; earlier panels get a
        dashed grey frame. Pass ``range(K)`` where row i shows task i.
    extent
        ``(left, right, bottom, top)`` in µm; or ``(n_rows, 4)``, that of each row, whose axes then
        have numbers of their own where they differ. Without, axes count points.
    axis_labels
        Names of the horizontal and the vertical axis.
    unit
        Unit of the field, such as ``"V/m"``; a common power of ten joins it.
    component
        Name of the field component, at the colour bars.
    title
        Above the figure.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, the labels or the extent.
    """
    fields, guesses = _image_arrays(originals, reconstructions)
    height, width = fields.shape[1:]
    limits = [_symmetric_limit(field, guess) for field, guess in zip(fields, guesses, strict=True)]
    power = 3 * int(np.floor(np.log10(max(limits)) / 3))
    power = 0 if power in (-3, 0) else power
    scale = 10.0**power
    boxes = _boxes(extent, len(fields), (-0.5, width - 0.5, -0.5, height - 0.5))
    images: dict[int, AxesImage] = {}

    def draw(axes: Axes, row: int, values: np.ndarray) -> None:
        limit = limits[row] / scale
        images[row] = axes.imshow(
            values / scale,
            cmap=DIVERGING,
            vmin=-limit,
            vmax=limit,
            origin="lower",
            extent=boxes[row],
            aspect="auto",
            interpolation="nearest",
        )

    left, right, bottom, top = boxes[0]
    ratio = abs((top - bottom) / (right - left))
    apart = float(np.ptp(boxes[:, :2], axis=0).max())
    figure, panels = panel_rows(
        fields,
        guesses,
        draw,
        row_labels=row_labels,
        column_labels=column_labels,
        learned_at=learned_at,
        title=title,
        panel_ratio=min(max(ratio, 0.42), 1.3),
        ticks=True,
        own_axes=apart > _UNSEEN * abs(right - left),
        right=0.95,
    )
    length = "points" if extent is None else "µm"
    figure.supxlabel(f"{axis_labels[0]} [{length}]")
    figure.supylabel(f"{axis_labels[1]} [{length}]", x=0.008)
    ten = f"$10^{{{power}}}$" if power else ""
    suffix = " ".join(part for part in (ten, unit) if part)
    inch = 1 / figure.get_figwidth()
    for row, image in images.items():
        place = panels[row, -1].get_position()
        bar = figure.colorbar(
            image,
            cax=figure.add_axes((place.x1 + 0.1 * inch, place.y0, 0.12 * inch, place.height)),
            extend="both" if np.nanmax(np.abs(guesses[row])) > limits[row] else "neither",
        )
        limit = limits[row] / scale
        if place.height * figure.get_figheight() > 0.42:
            bar.set_ticks([-limit, 0, limit], labels=[compact(v, 2) for v in (-limit, 0, limit)])
        else:  # no room for three numbers
            bar.set_ticks([0], labels=[f"±{compact(limit, 2)}"])
        bar.ax.tick_params(labelsize=8, length=2)
    highest = panels[0, -1].get_position()
    figure.text(
        1 - 0.06 * inch,
        highest.y1 + 0.08 / figure.get_figheight(),
        f"{component}\n[{suffix}]" if suffix else component,
        ha="right",
        va="bottom",
        fontsize=9,
    )
    return figure


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
    fields, guesses = _image_arrays(originals, reconstructions, colour=np.ndim(originals) == 4)
    low, high = float(np.nanmin(fields)), float(np.nanmax(fields))

    def draw(axes: Axes, row: int, values: np.ndarray) -> None:
        if values.ndim == 3:  # in colour, where neither limits nor NaN have an effect
            values = np.nan_to_num(np.clip(values, 0, 1), nan=1.0)
        axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="nearest")

    figure, _ = panel_rows(
        fields,
        guesses,
        draw,
        row_labels=row_labels,
        column_labels=column_labels,
        learned_at=learned_at,
        title=title,
        panel_ratio=fields.shape[1] / fields.shape[2],
        ticks=False,
    )
    return figure


def _image_arrays(
    originals: ArrayLike, reconstructions: ArrayLike, colour: bool = False
) -> tuple[np.ndarray, ...]:
    fields = np.asarray(originals, dtype=float)
    guesses = np.asarray(reconstructions, dtype=float)
    last = (3,) if colour else ()
    if fields.ndim != 3 + colour or fields.shape[3:] != last or fields.size == 0:
        shape = "(n_rows, H, W, 3)" if colour else "(n_rows, H, W)"
        raise ValueError(f"originals must have shape {shape}, got {fields.shape}")
    n_rows, *image = fields.shape
    if guesses.ndim != fields.ndim + 1 or [len(guesses), *guesses.shape[2:]] != [n_rows, *image]:
        raise ValueError(
            f"reconstructions must have shape (n_rows, K, H, W{', 3' * colour}) = ({n_rows}, K, "
            f"{', '.join(map(str, image))}) as the originals, got {guesses.shape}"
        )
    return fields, guesses


def _boxes(extent: ArrayLike | None, n_rows: int, points: tuple[float, ...]) -> np.ndarray:
    """Return (left, right, bottom, top) of each row."""
    boxes = np.asarray(points if extent is None else extent, dtype=float)
    if boxes.shape not in ((4,), (n_rows, 4)):
        raise ValueError(
            f"extent must be (left, right, bottom, top), or one of these for each of {n_rows} "
            f"rows, got an array of shape {boxes.shape}"
        )
    return np.broadcast_to(boxes, (n_rows, 4))


def _symmetric_limit(original: np.ndarray, guesses: np.ndarray) -> float:
    """Return where a row's colours end: from the original, or else from what else there is."""
    for values in (original, guesses):
        magnitudes = np.abs(values[np.isfinite(values)])
        if magnitudes.size:
            for limit in (np.percentile(magnitudes, _ROBUST_PERCENTILE), magnitudes.max()):
                if limit > 0:
                    return float(limit)
    return 1.0
