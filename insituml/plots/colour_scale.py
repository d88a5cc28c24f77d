"""Colour scales that fit the values they show."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.colors import LogNorm, Normalize


def colour_scale(
    values: np.ndarray, *, vmin: float | None, vmax: float | None, log: bool
) -> Normalize:
    """Return the colour scale: as asked, else from smallest to largest finite value."""
    usable = values[np.isfinite(values) & ((values > 0) | (not log))]
    low = vmin if vmin is not None else (float(usable.min()) if usable.size else 0.1)
    high = vmax if vmax is not None else (float(usable.max()) if usable.size else max(1.0, low))
    if low > high or (log and low <= 0):
        rule = "0 < vmin <= vmax for a logarithmic scale" if log else "vmin <= vmax"
        raise ValueError(f"the colour scale needs {rule}, got vmin={low:g}, vmax={high:g}")
    if low == high:  # one value only: any scale around it
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return LogNorm(low, high) if log else Normalize(low, high)


def beyond_scale(values: np.ndarray, norm: Any) -> Literal["neither", "both", "min", "max"]:
    """Return at which ends of the colour bar values lie beyond the scale."""
    finite = values[np.isfinite(values)]
    below, above = bool((finite < norm.vmin).any()), bool((finite > norm.vmax).any())
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"
