"""The energy of an electromagnetic field, ∫ ε₀E²/2 + B²/(2μ₀) dV."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from insituml.data.constants import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

DENSITIES = {"V/m": VACUUM_PERMITTIVITY / 2, "T": 1 / (2 * VACUUM_PERMEABILITY)}
"""By the unit of a component: its energy density over its square, in J/m³."""


def has_energy(units: Sequence[str]) -> bool:
    """Return whether any component is one of an electric or a magnetic field."""
    return any(unit in DENSITIES for unit in units)


def field_energy(values: np.ndarray, units: Sequence[str], spacing: Sequence[float]) -> float:
    """Return the energy in those components that are electric (V/m) or magnetic (T).

    Parameters
    ----------
    values
        ``(components, *grid)``.
    units
        Of each component; others, such as densities, have no energy of their own.
    spacing
        Distance between points along each axis, in metres.

    Returns
    -------
    float
        In J; of a grid of two axes or one, in J/m or J/m².
    """
    total = 0.0
    for component, unit in zip(values, units, strict=True):
        if unit in DENSITIES:
            flat = np.asarray(component, dtype=np.float64).ravel()
            total += DENSITIES[unit] * float(flat @ flat)
    return total * math.prod(spacing)
