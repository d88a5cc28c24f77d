"""What a byte of memory buys: error against the share of the stream that a method keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import ArrayLike

from insituml.plots.arrays import mean_and_band
from insituml.plots.method_style import MethodStyle, method_label, method_styles
from insituml.plots.notes import finish, spread_notes
from insituml.plots.panel_rows import say_on_panel
from insituml.plots.style import (
    MAX_WIDTH,
    MOST_BANDS,
    height_for_labels,
    label_line_ends,
    look,
    plain_log_numbers,
    settle,
)


@dataclass(frozen=True)
class MemoryCurve:
    """One method at several sizes of its memory.

    Parameters
    ----------
    shares
        ``(P,)``: bytes kept, as a share of the stream's, above 0.
    errors
        ``(P, seeds)``: NaN where a seed has none.
    smallest
        Share below which the method cannot go, such as that of one sample; None: not known.
    """

    shares: Sequence[float]
    errors: ArrayLike
    smallest: float | None = None


@look()
def memory_curves(
    curves: Mapping[str, MemoryCurve],
    levels: Mapping[str, ArrayLike] | None = None,
    *,
    metric_label: str = "error",
    title: str = "",
    log: bool = True,
) -> Figure:
    """Draw error against memory, both logarithmic, and what needs no memory as levels.

    A line is the mean over seeds, its band one standard deviation to either side; more than a few
    methods have no bands. Where a method cannot be made smaller, a bar stands to the left of its
    first point.

    Parameters
    ----------
    curves
        By name of the method, or of a variant of it.
    levels
        By name, ``(seeds,)``: methods without a memory, and bounds.
    metric_label
        What the error is.
    title
        Above the figure.
    log
        Logarithmic error axis.

    Raises
    ------
    ValueError
        If there is no curve, shares are not above 0 or errors are not ``(P, seeds)``.
    """
    points = {name: _points(name, curve) for name, curve in curves.items()}
    if not points:
        raise ValueError("there is no curve to draw; expected one or more")
    flat = {name: np.asarray(level, dtype=float).ravel() for name, level in (levels or {}).items()}
    styles = method_styles([*points, *flat])
    figure = Figure(figsize=(MAX_WIDTH, height_for_labels(len(styles), 4.4)))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    if log:
        axes.set_yscale("log")
        plain_log_numbers(axes.yaxis)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter("{x:g}")
    with_bands = len(styles) <= MOST_BANDS
    for name, (shares, errors) in points.items():
        _draw_curve(axes, styles[name], 100 * shares, errors, curves[name].smallest, with_bands)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high)
    ends = []
    for name, values in flat.items():
        level, below, above = (float(v[0]) for v in mean_and_band(values[:, None]))
        if not np.isfinite(level):
            continue
        style = styles[name]
        if with_bands:
            axes.axhspan(below, above, color=style.color, alpha=0.08, linewidth=0)
        axes.axhline(level, color=style.color, linestyle=style.linestyle, linewidth=1.0)
        ends.append((high, level, style))
    for name, (shares, errors) in points.items():
        mean = mean_and_band(errors.T)[0]
        measured = np.flatnonzero(np.isfinite(mean))
        if len(measured):
            end = (100 * float(shares[measured[-1]]), float(mean[measured[-1]]))
            # A leader from the middle of the axes would look like more of the curve.
            if end[0] < high / 3:
                _label_beside(axes, end, styles[name])
            else:
                ends.append((*end, styles[name]))
    axes.grid(axis="both")
    axes.set(xlabel="memory in % of the stream's bytes", ylabel=metric_label)
    notes = spread_notes({**{n: e.T for n, (_, e) in points.items()}, **flat})
    if any(curve.smallest is not None for curve in curves.values()):
        notes.append("A bar is the least that a method can keep: one sample.")
    if flat:
        notes.append(f"Levels, whatever they keep: {', '.join(map(method_label, flat))}.")
    finish(figure, title, notes)
    if not any(np.isfinite(errors).any() for _, errors in points.values()):
        say_on_panel(axes, "no finite value")
    label_line_ends(axes, ends)
    return settle(figure)


def _draw_curve(
    axes: Axes,
    style: MethodStyle,
    percent: np.ndarray,
    errors: np.ndarray,
    smallest: float | None,
    with_band: bool,
) -> None:
    mean, low, high = mean_and_band(errors.T)
    if with_band:
        axes.fill_between(percent, low, high, color=style.color, alpha=0.15, linewidth=0)
    axes.plot(percent, mean, color=style.color, marker=style.marker, linestyle=style.linestyle)
    if smallest is not None and np.isfinite(mean[0]):
        edge = 100 * smallest
        axes.plot([edge, percent[0]], [mean[0]] * 2, color=style.color, linestyle=":", linewidth=1)
        axes.plot([edge], [mean[0]], color=style.color, marker="|", markersize=11)


def _label_beside(axes: Axes, point: tuple[float, float], style: MethodStyle) -> None:
    axes.annotate(
        style.label,
        point,
        xytext=(5, 3),
        textcoords="offset points",
        color=style.color,
        fontsize=7.5,
        fontweight="bold",
    )


def _points(name: str, curve: MemoryCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return shares ``(P,)``, ascending, and errors ``(P, seeds)``."""
    shares, errors = np.asarray(curve.shares, dtype=float), np.asarray(curve.errors, dtype=float)
    if shares.ndim != 1 or len(shares) == 0 or not (shares > 0).all():
        raise ValueError(f"curves[{name!r}] has shares {shares}; expected (P,) above 0")
    if errors.ndim != 2 or len(errors) != len(shares) or errors.shape[1] == 0:
        raise ValueError(
            f"curves[{name!r}] has errors {errors.shape} for {len(shares)} shares; expected "
            "(P, seeds)"
        )
    order = shares.argsort(kind="stable")
    return shares[order], errors[order]
