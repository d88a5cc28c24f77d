"""What a model still makes of each task's data: originals beside reconstructions over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from insituml.plots.arrays import names_of
from insituml.plots.style import DIVERGING, MAX_WIDTH, compact, look

_ROBUST_PERCENTILE = 99.5
_DASHES = (0, (3, 2))
_ORIGINAL, _MODEL = "#0072B2", "#D55E00"
_BENEATH = "0.78"
_MARGIN = 0.25  # around the original point clouds, as a part of their extent


@look()
def reconstruction_grid(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    learned_at: Sequence[int] | None = None,
    extent: tuple[float, float, float, float] | None = None,
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
        ``(left, right, bottom, top)`` in µm; without, axes count points.
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
        If the shapes do not fit each other or the labels.
    """
    fields, guesses = _image_arrays(originals, reconstructions)
    height, width = fields.shape[1:]
    limits = [_symmetric_limit(field, guess) for field, guess in zip(fields, guesses, strict=True)]
    power = 3 * int(np.floor(np.log10(max(limits)) / 3))
    power = 0 if power in (-3, 0) else power
    scale = 10.0**power
    box = extent or (-0.5, width - 0.5, -0.5, height - 0.5)
    images: dict[int, AxesImage] = {}

    def draw(axes: Axes, row: int, values: np.ndarray) -> None:
        limit = limits[row] / scale
        images[row] = axes.imshow(
            values / scale,
            cmap=DIVERGING,
            vmin=-limit,
            vmax=limit,
            origin="lower",
            extent=box,
            aspect="auto",
            interpolation="nearest",
        )

    ratio = abs((box[3] - box[2]) / (box[1] - box[0]))
    figure, panels = _grid(
        fields,
        guesses,
        draw,
        row_labels=row_labels,
        column_labels=column_labels,
        learned_at=learned_at,
        title=title,
        panel_ratio=min(max(ratio, 0.42), 1.3),
        ticks=True,
        right=0.95,
    )
    length = "µm" if extent else "points"
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

    figure, _ = _grid(
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

    figure, _ = _grid(
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


def _symmetric_limit(original: np.ndarray, guesses: np.ndarray) -> float:
    """Return where a row's colours end: from the original, or else from what else there is."""
    for values in (original, guesses):
        magnitudes = np.abs(values[np.isfinite(values)])
        if magnitudes.size:
            for limit in (np.percentile(magnitudes, _ROBUST_PERCENTILE), magnitudes.max()):
                if limit > 0:
                    return float(limit)
    return 1.0


def _grid(
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
    right: float = 0.12,
    keys: Mapping[str, Line2D] | None = None,
) -> tuple[Figure, np.ndarray]:
    """Lay out one row an original, with labels and frames; ``draw`` fills the panels.

    ``keys`` come into the legend.
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
    left = 0.075 * max(len(row) for row in rows) + (0.65 if ticks else 0.15)
    panel = min((MAX_WIDTH - left - right) / (count + 1) - gap, 2.0 if ticks else 1.2)
    head = max((len(column) for column in columns), default=0) * 0.085 > panel
    top = (0.36 if title else 0.1) + (0.4 if head else 0.24)
    top = max(top, 0.55) if right > 0.5 else top  # two lines above the colour bars
    bottom = 0.58 if ticks else 0.35
    width = left + (count + 1) * (panel + gap) - gap + right
    height = top + n_rows * (panel * panel_ratio + gap) - gap + bottom
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
            "hspace": gap / (panel * panel_ratio),
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
        if ticks and row == n_rows - 1:
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
