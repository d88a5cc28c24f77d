"""How every figure looks: fonts, method colours and names, number formats, and how it is saved."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insituml.atomic_file import write_atomically

DPI = 120
"""Pixels per inch of every saved figure; the widest, 11 inches, is 1320 pixels."""

MAX_WIDTH = 11.0
"""Width of the widest figures, in inches."""

SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"

_LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.3",
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "axes.axisbelow": True,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "figure.labelsize": 10,
    "figure.dpi": DPI,
    "figure.constrained_layout.use": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
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


@dataclass(frozen=True)
class MethodStyle:
    """How one method is named and drawn in every figure."""

    label: str
    color: str
    marker: str
    linestyle: Any


# Okabe and Ito's palette; relatives share a hue, the two references are black and grey.
_KNOWN = {
    "naive": MethodStyle("naive", "#7F7F7F", "x", ":"),
    "joint": MethodStyle("joint", "#000000", "*", "--"),
    "ewc": MethodStyle("EWC", "#0072B2", "o", "-"),
    "online_ewc": MethodStyle("online EWC", "#56B4E9", "s", "--"),
    "agem": MethodStyle("A-GEM", "#D55E00", "^", "-"),
    "sgem": MethodStyle("S-GEM", "#E69F00", "v", "--"),
    "agem_layerwise": MethodStyle("layer-wise A-GEM", "#CC79A7", "D", "-."),
    "experience_replay": MethodStyle("experience replay", "#009E73", "P", "-"),
}
# For names not above: the palette's yellow, darkened to show on white, then other tones.
_FREE_COLORS = ("#A89A00", "#882255", "#332288", "#44AA99", "#8C510A", "#AA3377", "#4B6A00")
_FREE_MARKERS = ("X", "<", ">", "h", "p", "d", "8", "H", "o")
_FREE_LINESTYLES: tuple[Any, ...] = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))


def method_label(name: str) -> str:
    """Return what a reader sees for a method's name: ``"agem"`` is A-GEM."""
    return _KNOWN[name].label if name in _KNOWN else name.replace("_", " ")


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """Give each method its colour, marker and line style.

    The methods of this library always look the same. Other names take the free colours in
    alphabetical order, so the same set of names looks the same whatever its order; after seven
    of them the colours come round again with other line styles.

    Parameters
    ----------
    names
        Names of methods, such as ``"online_ewc"``.
    """
    names = list(dict.fromkeys(names))
    unknown = sorted(name for name in names if name not in _KNOWN)
    invented = {
        name: MethodStyle(
            label=method_label(name),
            color=_FREE_COLORS[place % len(_FREE_COLORS)],
            marker=_FREE_MARKERS[place % len(_FREE_MARKERS)],
            linestyle=_FREE_LINESTYLES[
                (place + place // len(_FREE_COLORS)) % len(_FREE_LINESTYLES)
            ],
        )
        for place, name in enumerate(unknown)
    }
    return {name: _KNOWN.get(name) or invented[name] for name in names}


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


def human_bytes(count: float | None) -> str:
    """Write a number of bytes in the largest fitting binary unit: ``1536`` is 1.5 KiB."""
    if count is None or math.isnan(count):
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.3g} {unit}" if abs(count) < 999.5 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


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


def label_line_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name to the right of the axes, level with its end, without overlaps.

    Call it last: the limits of the axes must be final.

    Parameters
    ----------
    ends
        ``(x, y, label, color)`` for each line, in data coordinates.
    """
    if not ends:
        return
    # Fractions of the axes do not change when the layout resizes them.
    to_axes = axes.transData + axes.transAxes.inverted()
    starts = to_axes.transform([(x, y) for x, y, _, _ in ends])
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = 0.75 * figure.get_figheight()
    levels = spread(list(starts[:, 1].clip(0, 1)), gap=0.18 / height)
    for (start_x, start_y), level, (_, _, label, color) in zip(starts, levels, ends, strict=True):
        axes.annotate(
            label,
            xy=(start_x, min(max(start_y, 0), 1)),
            xytext=(1.05, level),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            ha="left",
            color=color,
            fontsize=9,
            fontweight="bold",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.7,
                "alpha": 0.7,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
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
