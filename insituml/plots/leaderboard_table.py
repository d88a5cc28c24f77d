"""The leaderboard as a table in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from insituml import metrics
from insituml.metrics import Metric
from insituml.plots.leaderboard_rows import Row, ranked
from insituml.plots.method_style import method_label
from insituml.plots.style import human_bytes


def leaderboard_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the leaderboard as a Markdown table, mean ± standard deviation, best on top.

    The best method of each column is bold where there are several to choose from. Bounds, which
    have ``is_bound``, and the method that does nothing do not compete, and a gap that is not
    closed at all is no success.

    Parameters
    ----------
    rows
        As for :func:`leaderboard_figure`.

    Raises
    ------
    ValueError
        If there is no row, a key is missing or a method comes twice.
    """
    board = ranked(rows)
    columns = [_column(board, metric) for metric in metrics.headlines()]
    cells = [[method_label(row.method) for row in board], *(column for _, column in columns)]
    heads = ["method", *(head for head, _ in columns)]
    lines = [heads, *zip(*cells, strict=True)]
    written = ["| " + " | ".join(line) + " |" for line in lines]
    written.insert(1, "|:---|" + "---:|" * len(columns))
    return "\n".join(written) + "\n"


def _column(board: Sequence[Row], metric: Metric) -> tuple[str, list[str]]:
    """Return the head and the cells of one metric."""
    head, write = _format(board, metric)
    best = metric.best([row.numbers[metric.name] for row in board if row.competes])
    cells = []
    for row in board:
        value = row.numbers[metric.name]
        text = "–" if math.isnan(value) else write(row.numbers)
        cells.append(f"**{text}**" if row.competes and value == best else text)
    return head, cells


def _format(
    board: Sequence[Row], metric: Metric
) -> tuple[str, Callable[[Mapping[str, float]], str]]:
    """Return a metric's head and how its numbers are written.

    ``mean ± std`` all have as many decimals as give the median three digits. Where the median is
    very small or large, a power of ten moves to the head.
    """
    if not metric.varies:
        return metric.label, lambda numbers: human_bytes(numbers[metric.name])
    values = [row.numbers[metric.name] for row in board]
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    power = math.floor(math.log10(float(np.median(sizes)))) if sizes else 0
    factor = 0 if -4 < power < 5 else power
    decimals = max(2 - (power - factor), 0)

    def write(numbers: Mapping[str, float]) -> str:
        mean, spread = (numbers[column] / 10.0**factor for column in metric.columns)
        number = f"{mean:.{decimals}f}"
        if float(number) == 0:
            number = number.removeprefix("-")  # rounding noise below zero is zero
        return number if math.isnan(spread) else f"{number} ± {spread:.{decimals}f}"

    return f"{metric.label} (1e{factor})" if factor else metric.label, write
