"""Units as openPMD writes them: powers of the standard's base quantities, and their names here."""

from __future__ import annotations

import re
from collections.abc import Sequence

DIMENSIONS = ("L", "M", "T", "I", "theta", "N", "J")
"""The standard's base quantities, in its order."""
Powers = tuple[float, ...]
BASE = ("m", "kg", "s", "A", "K", "mol", "cd")
"""Their units."""
UNITS: dict[str, Powers] = {
    "V/m": (1, 1, -3, -1, 0, 0, 0),
    "T": (0, 1, -2, -1, 0, 0, 0),
    "A/m^2": (-2, 0, 0, 1, 0, 0, 0),
    "C/m^3": (-3, 0, 1, 1, 0, 0, 0),
    "1": (0, 0, 0, 0, 0, 0, 0),
}
"""Units that a mesh's powers are named by; others are spelled in base units."""
SYMBOLS: dict[str, Powers] = {
    **{name: tuple(float(k == place) for k in range(7)) for place, name in enumerate(BASE)},
    "1": UNITS["1"],
    "T": UNITS["T"],
    "V": (2, 1, -3, -1, 0, 0, 0),
    "C": (0, 0, 1, 1, 0, 0, 0),
    "J": (2, 1, -2, 0, 0, 0, 0),
    "N": (1, 1, -2, 0, 0, 0, 0),
    "W": (2, 1, -3, 0, 0, 0, 0),
    "Pa": (-1, 1, -2, 0, 0, 0, 0),
    "Hz": (0, 0, -1, 0, 0, 0, 0),
    "Wb": (2, 1, -2, -1, 0, 0, 0),
}
"""What a unit may be spelled with. None has a prefix: values are in SI units."""
_FACTOR = re.compile(r"([A-Za-z1]+)(?:\^?\(?([-+]?\d+(?:\.\d+)?)\)?)?")


def unit_name(powers: Sequence[float]) -> str:
    """Name a unit given by the powers of the base quantities, or spell it in base units."""
    for name, known in UNITS.items():
        if tuple(powers) == known:
            return name
    base = zip(BASE, powers, strict=True)
    return " ".join(f"{symbol}^{power:g}" for symbol, power in base if power)


def unit_powers(unit: str) -> Powers:
    """Return the powers of the base quantities of a unit such as ``"V/m"``, ``"m^-3"``, ``"J s"``.

    An empty one counts as dimensionless.

    Raises
    ------
    ValueError
        If it is not spelled with :data:`SYMBOLS`.
    """
    powers = [0.0] * len(BASE)
    for place, part in enumerate((unit.strip() or "1").split("/")):
        for factor in re.split(r"[\s*·]+", part.strip()):
            match = _FACTOR.fullmatch(factor)
            if match is None or match[1] not in SYMBOLS:
                raise ValueError(
                    f"unit {unit!r} cannot be written to openPMD; spell it with powers of "
                    f"{', '.join(SYMBOLS)}, such as V/m or m^-3"
                )
            power = float(match[2] or 1) * (-1 if place else 1)
            symbol = SYMBOLS[match[1]]
            powers = [sum_ + power * own for sum_, own in zip(powers, symbol, strict=True)]
    return tuple(powers)
