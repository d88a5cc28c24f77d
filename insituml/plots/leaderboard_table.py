"""The leaderboard as a table in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from insituml import gap, metrics
from insituml.metric import Metric
from insituml.plots.leaderboard_rows import Row, ranked
from insituml.plots.method_style import method_label
from insituml.plots.style import compact, human_bytes, human_count


def leaderboard_markdown(rows: Sequence[Mapping[str, Any]], *, metric_label: str = "") -> str:
    """Return the leaderboard as a Markdown table, mean ± standard deviation, best on top.

    Where rows have a ``verdict`` (see :mod:`insituml.significance`), it is the last column, and
    the errors of the best method and of those on a par with it are bold, if that leaves others
    behind. Else the best method of each column is bold where it stands out: where there are several
    to choose from, and where it is better than each of them, and than the method that does nothing,
    by more than their spreads (the root of the sum of their squares). Bounds, which have
    ``is_bound``, and the method that does nothing do not compete; a gap that is not closed at all
    is no success; of one seed no spread is known, and nothing stands out.

    Parameters
    ----------
    rows
        As for :func:`leaderboard_figure`; ``verdict`` may be missing.
    metric_label
        What the errors are, with their unit; said below the table.

    Raises
    ------
    ValueError
        If there is no row, a key is missing or a method comes twice.
    """
    board = ranked(rows)
    columns = [_column(board, metric) for metric in metrics.headlines()]
    best = [row for row in board if row.verdict == "best"]
    if best:
        head = f"against {method_label(best[0].method)}"
        columns.append((head, [row.verdict or "–" for row in board]))
    cells = [[method_label(row.method) for row in board], *(column for _, column in columns)]
    heads = ["method", *(head for head, _ in columns)]
    lines = [heads, *zip(*cells, strict=True)]
    written = ["| " + " | ".join(line) + " |" for line in lines]
    written.insert(1, "|:---|" + "---:|" * len(columns))
    return "\n".join([*written, "", _caption(board, metric_label)]) + "\n"


def _caption(board: Sequence[Row], metric_label: str) -> str:
    """Say below the table what its numbers are."""
    seeds = max(row.seeds for row in board)
    errors = f"Errors: {metric_label}. " if metric_label else ""
    if seeds > 1:
        spread = f"Mean ± standard deviation over {seeds} seeds. "
        if any(row.verdict for row in board):
            told = "Bold: best, or on a par with it by the paired t test over seeds"
            return f"{errors}{spread}{told} (5 %, corrected by Holm)."
        return f"{errors}{spread}Bold: best, by more than the spread."
    if any(_spread_known(row) for row in board):
        return f"{errors}Mean ± standard deviation over seeds. Bold: best, by more than the spread."
    return f"{errors}One seed: no spread is known, and no error is called the best."


def _spread_known(row: Row) -> bool:
    columns = [metric.columns[1] for metric in metrics.headlines() if metric.varies]
    return any(not math.isnan(row.numbers[column]) for column in columns)


def _column(board: Sequence[Row], metric: Metric) -> tuple[str, list[str]]:
    """Return the head and the cells of one metric."""
    head, write = _format(board, metric)
    best = metric.best([row.numbers[metric.name] for row in board if row.competes])
    cells = []
    for row in board:
        value = row.numbers[metric.name]
        text = compact(value) if not math.isfinite(value) else write(row.numbers)
        if any(other.verdict for other in board):
            wins = metric is metrics.headlines()[0] and _leads(row, board)
        else:
            wins = row.competes and value == best and _stands_out(row, board, metric)
        cells.append(f"**{text}**" if wins else text)
    return head, cells


def _leads(row: Row, board: Sequence[Row]) -> bool:
    """Return whether a row is the best, or on a par with it, and others are left behind."""
    behind = [other for other in board if other.competes or other.method == gap.REFERENCE]
    if not any(other.verdict == "worse" for other in behind):
        return False
    if any(o.method == gap.REFERENCE and o.verdict != "worse" for o in behind):
        return False
    return row.competes and row.verdict in ("best", "on a par")


def _stands_out(best: Row, board: Sequence[Row], metric: Metric) -> bool:
    """Return whether a row is better than all it competes with by more than their spreads."""
    if not metric.varies:
        return metric.kind == "bytes"
    value, spread = (best.numbers[column] for column in metric.columns)
    for other in board:
        compared = other.competes or other.method == gap.REFERENCE
        theirs, their_spread = (other.numbers[column] for column in metric.columns)
        if not compared or other is best or not math.isfinite(theirs):
            continue
        lead = theirs - value if metric.better == "lower" else value - theirs
        if not lead > math.hypot(spread, their_spread):  # nor where a spread is not known
            return False
    return math.isfinite(value)


def _format(
    board: Sequence[Row], metric: Metric
) -> tuple[str, Callable[[Mapping[str, float]], str]]:
    """Return a metric's head and how its numbers are written.

    ``mean ± std`` all have as many decimals as give the median three digits. Where the median is
    very small or large, a power of ten moves to the head.
    """
    label = metric.label_among(row.method for row in board)
    if not metric.varies:
        human = human_bytes if metric.kind == "bytes" else human_count
        return label, lambda numbers: human(numbers[metric.name])
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

    return f"{label} (1e{factor})" if factor else label, write
