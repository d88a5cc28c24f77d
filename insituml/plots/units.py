"""Units as figures write them: an SI prefix where one fits, a power of ten where none does."""

from __future__ import annotations

import math
import re

_PREFIXES = {
    -18: "a",
    -15: "f",
    -12: "p",
    -9: "n",
    -6: "µ",
    -3: "m",
    0: "",
    3: "k",
    6: "M",
    9: "G",
    12: "T",
    15: "P",
    18: "E",
}
# A prefix belongs to a first unit without exponent: GV/m, but not Mm⁻³ or kkg.
_TAKES_PREFIX = re.compile(r"(V|T|A|C|J|W|N|Pa|Hz|eV|Wb|F|H|S|Ω|m|s)(?![\w^²³⁻])")
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def scaled_unit(unit: str, largest: float) -> tuple[float, str]:
    """Return what to divide values by, and the unit that they are in then.

    ``("V/m", 2.6e11)`` gives ``(1e9, "GV/m")``: numbers from 1 to 1000.

    Parameters
    ----------
    unit
        Of the values, such as ``"V/m"`` or ``"C/m^3"``; empty where they have none.
    largest
        Their largest magnitude.
    """
    unit = re.sub(r"\^(-?\d+)", lambda found: found[1].translate(_RAISED), unit)
    if not math.isfinite(largest) or largest <= 0:
        return 1.0, unit
    # What would be written as 1000 is 1 of the next prefix.
    power = 3 * math.floor((math.log10(largest) + 2e-4) / 3)
    if _TAKES_PREFIX.match(unit) and power in _PREFIXES:
        return 10.0**power, _PREFIXES[power] + unit
    if power in (-3, 0):
        return 1.0, unit
    ten = f"$10^{{{power}}}$"
    return 10.0**power, f"{ten} {unit}" if unit else ten


def quantity(*values: float, unit: str, largest: float | None = None) -> str:
    """Write a value, or the ends of a range, with the prefix that fits: ``93.4 fs``.

    Parameters
    ----------
    values
        One, or the first and the last.
    unit
        Of the values, without prefix.
    largest
        Magnitude that the prefix fits; the largest of the values without.
    """
    largest = max(abs(value) for value in values) if largest is None else largest
    factor, name = scaled_unit(unit, largest)
    shown = [value / factor + 0.0 for value in values]
    texts = [f"{v:.0f}" if abs(v) >= 100 else f"{v:.3g}" for v in shown]
    return f"{' to '.join(dict.fromkeys(texts))} {name}".strip()


def in_brackets(name: str, unit: str) -> str:
    """Return a label such as ``Ex [GV/m]``; without a unit, the name alone."""
    return f"{name} [{unit}]" if unit else name
