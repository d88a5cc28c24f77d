"""What every benchmark shares: options, rows with a goal, their table and their JSON file."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One measured number.

    Parameters
    ----------
    name
        What was measured, unit or ratio included.
    value
        The number; NaN where there is none.
    goal
        What it should be, such as ``"<= 1.05"``; empty for a number that is only told.
    ok
        Whether the goal is met; True for a number that is only told.
    """

    name: str
    value: float
    goal: str = ""
    ok: bool = True

    @classmethod
    def at_most(cls, name: str, value: float, limit: float) -> Row:
        """Return a row whose value should not exceed ``limit``; NaN never meets a goal."""
        return cls(name, value, f"<= {limit:g}", value <= limit)

    @classmethod
    def at_least(cls, name: str, value: float, limit: float) -> Row:
        """Return a row whose value should reach ``limit``; NaN never meets a goal."""
        return cls(name, value, f">= {limit:g}", value >= limit)


def options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: ``--quick`` and ``--json``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="end within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    return parser


def concluded(rows: Sequence[Row], file: Path | None) -> int:
    """Print rows, write them to ``file`` if there is one, and return the exit code: 0 or 1.

    The goals that are missed are what decides.
    """
    print_table(rows)
    if file:
        write_json(rows, file)
    return 0 if all(row.ok for row in rows) else 1


def print_table(rows: Sequence[Row]) -> None:
    """Print one line a row; a goal that is missed is marked."""
    cells = [(r.name, f"{r.value:.4g}", r.goal, "" if r.ok else "missed") for r in rows]
    print_columns(("", "value", "goal", ""), cells)


def print_columns(heading: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print aligned columns, the first one to the left and the rest to the right."""
    widths = [max(map(len, column)) for column in zip(heading, *cells, strict=True)]
    for line in [heading, *cells]:
        first, *rest = (
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip())


def write_json(rows: Sequence[Row], path: Path) -> None:
    """Write rows as ``[{name, value, goal, ok}]``; NaN and infinity, unknown to JSON, as null."""
    plain = [asdict(row) for row in rows]
    for row in plain:
        row["value"] = row["value"] if math.isfinite(row["value"]) else None
    path.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n")
