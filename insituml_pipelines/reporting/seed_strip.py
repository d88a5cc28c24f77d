"""The errors of each seed as points on one line, small enough for a cell of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 150, 18, 7
LOG_FROM = 8.0
"""Ratio of the largest to the smallest error from which on the scale is logarithmic."""


def seed_strips(errors: Mapping[str, Sequence[float]]) -> dict[str, Markup]:
    """Draw each method's errors, all on one scale; a line stands at the mean.

    Parameters
    ----------
    errors
        By method; one a seed, NaN and infinity are left out.
    """
    finite = [error for values in errors.values() for error in values if math.isfinite(error)]
    if not finite:
        return {}
    low, high = min(finite), max(finite)
    log = low > 0 and high / low >= LOG_FROM

    def place(error: float) -> float:
        if high == low:
            return WIDTH / 2
        along: Callable[[float], float] = math.log if log else float
        share = (along(error) - along(low)) / (along(high) - along(low))
        return MARGIN + share * (WIDTH - 2 * MARGIN)

    return {
        method: _drawn([e for e in values if math.isfinite(e)], place)
        for method, values in errors.items()
    }


def _drawn(values: Sequence[float], place: Callable[[float], float]) -> Markup:
    written = ", ".join(f"{value:.3g}" for value in values) or "none"
    middle = HEIGHT / 2
    parts = [f'<line class="axis" x1="0" x2="{WIDTH}" y1="{middle:g}" y2="{middle:g}"/>']
    if values:
        mean = place(sum(values) / len(values))
        parts.append(
            f'<line class="mean" x1="{mean:.1f}" x2="{mean:.1f}" y1="3" y2="{HEIGHT - 3}"/>'
        )
    parts += [f'<circle cx="{place(value):.1f}" cy="{middle:g}" r="3.5"/>' for value in values]
    return Markup(
        f'<svg class="strip" role="img" aria-label="{written}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</svg>'
    )
