"""How methods differ from the best one, as a table in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from insituml.plots.method_style import method_label
from insituml.plots.style import compact

_HEADS = ("method", "difference", "95 % interval", "p", "p (Holm)", "verdict")


def differences_markdown(rows: Sequence[Mapping[str, Any]], *, caption: str = "") -> str:
    """Return differences as a Markdown table, in the order of the rows.

    Parameters
    ----------
    rows
        One mapping a method with ``method``, ``reference``, ``difference``, ``low``, ``high``,
        ``p``, ``p_holm`` and ``verdict``; NaN where a number is unknown.
    caption
        Said below the table.
    """
    if not rows:
        return caption + "\n"
    lines = [
        (
            f"{method_label(row['method'])} − {method_label(row['reference'])}",
            _signed(row["difference"]),
            _interval(row["low"], row["high"]),
            _p_value(row["p"]),
            _p_value(row["p_holm"]),
            row["verdict"] or "–",
        )
        for row in rows
    ]
    written = ["| " + " | ".join(line) + " |" for line in (_HEADS, *lines)]
    written.insert(1, "|:---|" + "---:|" * (len(_HEADS) - 1))
    return "\n".join([*written, "", caption]) + "\n"


def _signed(value: float) -> str:
    return f"+{compact(value)}" if value > 0 else compact(value)


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{_signed(low)} to {_signed(high)}"


def _p_value(p: float) -> str:
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
