"""How the mean square of a field is shared among wave numbers along one axis."""

from __future__ import annotations

import numpy as np


def wave_numbers(points: int, spacing: float) -> np.ndarray:
    """Return the angular wave numbers k = 2π/λ that :func:`power_spectrum` tells apart.

    Parameters
    ----------
    points, spacing
        Of the axis; the spacing in metres.

    Returns
    -------
    ndarray
        ``(points // 2 + 1,)`` in 1/m, from 0.
    """
    return 2 * np.pi * np.fft.rfftfreq(points, spacing)


def power_spectrum(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean square of each wave number, waves along and against the axis together.

    The sum over wave numbers is the mean square of all values (Parseval). Nothing is done about
    the edges: of a field that does not end as it began, the jump between them is part of it.

    Parameters
    ----------
    values
        ``(components, *grid)``.
    axis
        Of the grid, from 0; the mean goes over all others.

    Returns
    -------
    ndarray
        ``(components, points // 2 + 1)`` float64, in the square of the values' unit.
    """
    values = np.moveaxis(np.asarray(values, dtype=np.float64), 1 + axis, -1)
    points = values.shape[-1]
    power = np.abs(np.fft.rfft(values, axis=-1) / points) ** 2
    # All but 0 and, of an even number, the highest have a twin of negative sign.
    power[..., 1 : (points + 1) // 2] *= 2
    return np.asarray(power.reshape(len(values), -1, power.shape[-1]).mean(axis=1))
