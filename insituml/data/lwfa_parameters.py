"""What the parameters of the laser-wakefield field may be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insituml.data.lwfa import LwfaField


def checked_window(
    field: LwfaField, focus: float
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Return the points and the extent (m) along each axis, or raise at the first wrong value.

    Parameters
    ----------
    field
        With its parameters set, and nothing worked out yet.
    focus
        Position of the vacuum focus, in metres.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the grid cannot resolve the laser.
    """
    if len(field.shape) != 3 or min(field.shape) < 2 or field.iterations < 1:
        raise ValueError(
            f"shape={tuple(field.shape)}, iterations={field.iterations} must be three numbers of "
            "points (x, y, z), each at least 2, such as (16, 256, 16), and at least 1 step"
        )
    lengths = ("wavelength", "waist", "pulse_length", "ramp_length", "half_width")
    for name in ("a0", "density", "distance_per_iteration", *lengths):
        value = getattr(field, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value} must be finite and above 0, in SI units")
    if not math.isfinite(field.ramp_start + focus):
        raise ValueError(f"ramp_start={field.ramp_start}, focus={field.focus} must be finite")
    rear, front = field.window
    if not 0 < 2 * (front - rear) < field.wavelength * field.shape[1]:
        needed = max(2, math.ceil(5 * (front - rear) / field.wavelength - 1e-6))
        raise ValueError(
            f"window={(rear, front)} must be (rear, front) in metres, with rear < front, and "
            f"{field.shape[1]} points along it must show a laser of {field.wavelength:.3g} m: "
            f"give at least {needed} points (five per wavelength), or shorten the window"
        )
    nx, ny, nz = (int(n) for n in field.shape)
    return (nx, ny, nz), (2 * field.half_width, front - rear, 2 * field.half_width)
