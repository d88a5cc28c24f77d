"""The units that openPMD files are written in here, by the standard's base quantities."""

from __future__ import annotations

from collections.abc import Sequence

DIMENSIONS = ("L", "M", "T", "I", "theta", "N", "J")
"""The standard's base quantities, in its order."""
UNITS: dict[str, tuple[float, ...]] = {
    "V/m": (1, 1, -3, -1, 0, 0, 0),
    "T": (0, 1, -2, -1, 0, 0, 0),
    "A/m^2": (-2, 0, 0, 1, 0, 0, 0),
    "C/m^3": (-3, 0, 1, 1, 0, 0, 0),
    "1": (0, 0, 0, 0, 0, 0, 0),
}
"""Units by the powers of the base quantities."""


def unit_name(powers: Sequence[float]) -> str:
    """Name a unit given by the powers of the base quantities, or spell it in base units."""
    for name, known in UNITS.items():
        if tuple(powers) == known:
            return name
    base = zip(("m", "kg", "s", "A", "K", "mol", "cd"), powers, strict=True)
    return " ".join(f"{symbol}^{power:g}" for symbol, power in base if power)
