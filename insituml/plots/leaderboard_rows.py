"""The rows of a leaderboard, checked and ranked, for its figure and its table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from insituml import metrics


@dataclass(frozen=True)
class Row:
    """One method.

    Parameters
    ----------
    method
        Its name.
    competes
        Whether it can be the best, see :func:`insituml.metrics.competes`.
    is_baseline
        Whether it is what others are measured by; it competes all the same.
    seeds
        Number of seeds; 1 where not known.
    numbers
        By column, NaN where not known.
    verdict
        How its error compares with the best's: ``"best"``, ``"on a par"``, ``"worse"``,
        ``"better"`` or ``"diverged"``; empty where that is not known.
    """

    method: str
    competes: bool
    is_baseline: bool
    seeds: int
    numbers: dict[str, float]
    verdict: str = ""


def ranked(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return complete rows, best first by the first metric, unknown ones last.

    Raises
    ------
    ValueError
        If there is no row, a key is missing or a method comes twice.
    """
    if not rows:
        raise ValueError("rows is empty; give at least one method")
    columns = [column for metric in metrics.headlines() for column in metric.columns]
    board: dict[str, Row] = {}
    for row in rows:
        missing = [key for key in ("method", "is_bound", *columns) if key not in row]
        if missing:
            raise ValueError(
                f"row {row.get('method', len(board))!r} lacks {', '.join(missing)}; "
                f"put None where a value is unknown. It has {', '.join(map(str, row))}"
            )
        name = str(row["method"])
        if name in board:
            raise ValueError(f"method {name!r} comes twice; give one row a method")
        board[name] = Row(
            name,
            competes=metrics.competes(name, is_bound=row["is_bound"]),
            is_baseline=bool(row.get("is_baseline", False)),
            seeds=int(row.get("seeds", 1)),
            numbers={c: math.nan if row[c] is None else float(row[c]) for c in columns},
            verdict=str(row.get("verdict") or ""),
        )
    first = metrics.headlines()[0]
    sign = 1 if first.better == "lower" else -1

    def rank(row: Row) -> tuple[bool, float, str]:
        value = row.numbers[first.name]
        return math.isnan(value), 0.0 if math.isnan(value) else sign * value, row.method

    return sorted(board.values(), key=rank)
