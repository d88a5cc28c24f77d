"""How every figure looks: fonts, number formats, labels beside lines, and how it is saved."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from insituml.atomic_file import write_atomically
from insituml.plots.method_style import MethodStyle

DPI = 200
"""Pixels per inch of every saved figure; the widest, 7.5 inches, is 1500 pixels."""

MAX_WIDTH = 7.5
"""Width of the widest figures, in inches: a page of A4 with 10 mm left on either side."""

SMALL = 7.0
"""Size of the smallest text, in points, on a page that shows a figure as large as it is."""

MOST_BANDS = 10
"""Methods up to which one figure shows the spread over seeds; more bands would hide each other."""

SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
ORIGINAL, MODEL = "#0072B2", "#D55E00"
"""Colours of data and of what a model makes of them, where both are lines or points."""

_LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.3",
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "axes.axisbelow": True,
    "figure.titlesize": 10,
    "figure.titleweight": "bold",
    "figure.labelsize": 8,
    "figure.dpi": DPI,
    "figure.constrained_layout.use": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": "0.3",
    "ytick.color": "0.3",
    "xtick.labelcolor": "0.1",
    "ytick.labelcolor": "0.1",
}


@contextmanager
def look() -> Iterator[None]:
    """Draw with the shared look, whatever the user's own settings; use as ``with`` or decorator."""
    with matplotlib.style.context(["default", _LOOK]):
        yield


def title_lines(title: str, width: float) -> str:
    """Break a figure's title into lines that fit its width in inches."""
    return "\n".join(textwrap.wrap(title, max(20, int(width / 0.098))))


def compact(value: float | None, digits: int = 3) -> str:
    """Write a number with ``digits`` significant digits in little space; missing is a dash.

    ``0.1234`` becomes ``0.123`` and ``0.00001234`` becomes ``1.23e-5``.
    """
    if value is None or math.isnan(value):
        return "–"
    if value == 0:
        return "0"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -2 <= power < 4:
        return f"{value:.{max(digits - 1 - power, 0)}f}"
    return f"{mantissa}e{power}"


class _PlainNumbers(LogFormatter):
    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def plain_log_numbers(axis: Axis) -> None:
    """Write 0.2 along a logarithmic axis where matplotlib would write 2 × 10⁻¹."""
    axis.set_major_formatter(_PlainNumbers())
    # As matplotlib does: between powers of ten only where the axis spans little more than one.
    axis.set_minor_formatter(_PlainNumbers(minor_thresholds=(1.0, 0.4)))


def human_bytes(count: float | None) -> str:
    """Write a number of bytes in the largest fitting binary unit: ``1536`` is 1.5 KiB."""
    if count is None or math.isnan(count):
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.3g} {unit}" if abs(count) < 999.5 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def human_count(count: float | None) -> str:
    """Write a number of things with three digits and a prefix: ``12345`` is 12.3 k."""
    if count is None or math.isnan(count):
        return "–"
    for prefix in ("", "k", "M", "G", "T", "P"):
        if abs(count) < 999.5:
            return f"{count:.3g} {prefix}".rstrip()
        count /= 1000
    return f"{count:.3g} E"


def readable_on(color: Sequence[float]) -> str:
    """Return black or white, whichever stands out on a background ``(red, green, blue, ...)``."""
    # Relative luminance as the Web Content Accessibility Guidelines define it: the contrasts
    # with black and with white are equal at 0.179.
    channels = np.asarray(color[:3], dtype=float)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "black" if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.179 else "white"


def spread(positions: Sequence[float], gap: float) -> np.ndarray:
    """Move positions in [0, 1] apart to at least ``gap``, as little as possible (least squares).

    Where ``gap`` asks for more room than there is, all get the same smaller gap.

    Parameters
    ----------
    positions
        ``(n,)``, in any order, which is kept.
    gap
        Smallest distance between neighbours.
    """
    wanted = np.asarray(positions, dtype=float)
    if len(wanted) < 2:
        return wanted.clip(0, 1)
    gap = min(gap, 1 / (len(wanted) - 1))
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    # Less the steps, the result must only not decrease: pool neighbours that violate this.
    blocks: list[tuple[float, int]] = []
    for value in wanted[order] - steps:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            other, size = blocks.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        blocks.append((mean, count))
    pooled = np.concatenate([np.full(count, mean) for mean, count in blocks])
    result = np.empty_like(wanted)
    result[order] = pooled.clip(0, 1 - steps[-1]) + steps
    return result


def height_for_labels(count: int, least: float) -> float:
    """Return a figure's height in inches at which :func:`label_line_ends` is not crowded."""
    return max(least, (count * 0.19 + 0.6) / 0.75)


def label_line_ends(axes: Axes, ends: Sequence[tuple[float, float, MethodStyle]]) -> None:
    """Write each line's name and show its look to the right of the axes, level with its end.

    Labels do not overlap. Call it last: the limits of the axes must be final.

    Parameters
    ----------
    ends
        ``(x, y, style)`` for each line, in data coordinates.
    """
    if not ends:
        return
    axes.get_ylim()  # limits that follow the data are up to date once they are asked for
    # Fractions of the axes do not change when the layout resizes them.
    to_axes = axes.transData + axes.transAxes.inverted()
    starts = to_axes.transform([(x, y) for x, y, _ in ends])
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = 0.75 * figure.get_figheight()
    levels = spread(list(starts[:, 1].clip(0, 1)), gap=0.16 / height)
    for (start_x, start_y), level, (_, _, style) in zip(starts, levels, ends, strict=True):
        start = min(max(start_y, 0), 1)
        leader = Line2D([start_x, 1.06], [start, level], color=style.color, linewidth=0.7)
        sample = Line2D(
            [1.06, 1.085, 1.11],
            [level] * 3,
            color=style.color,
            linestyle=style.linestyle,
            marker=style.marker,
            markevery=[1],
        )
        for line in (leader, sample):
            line.set_transform(axes.transAxes)
            figure.add_artist(line)
        axes.text(
            1.12,
            level,
            "\n".join(textwrap.wrap(style.label, 40)),
            transform=axes.transAxes,
            va="center_baseline",
            color=style.color,
            fontsize=7.5,
            fontweight="bold",
        )


def settle(figure: Figure) -> Figure:
    """Compute the layout once and keep it: drawn again, it would move by a pixel here and there."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save(figure: Figure, path: Path | str) -> Path:
    """Write a figure as PNG: whole or not at all, and equal figures as equal bytes.

    Parent folders are made when missing.

    Parameters
    ----------
    figure
        What a function of this package returned.
    path
        Where to; must end in ``.png``.

    Raises
    ------
    ValueError
        If ``path`` does not end in ``.png``.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"figures are saved as PNG, got {path}; end the path in .png")
    buffer = io.BytesIO()
    with look():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return write_atomically(path, buffer.getvalue())
