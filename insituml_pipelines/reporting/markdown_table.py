"""The tables that the pipeline writes in Markdown, as tables that can be sorted."""

from __future__ import annotations

import math
import re

from insituml_pipelines.reporting.blocks import Cell, Table

_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BYTES = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}
UNITS = _PREFIXES | _BYTES
_NUMBER = re.compile(r"(?:< )?([+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|∞))(?: (?:±|to) .*| (\w+))?")


def number_of(text: str) -> float | None:
    """Return the number that a cell begins with, its prefix counted; None where it is none.

    ``1.48 MiB`` is 1551892.48, and of ``0.02 ± 0.01`` the mean counts.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or (match[2] or "") not in UNITS:
        return None
    if match[1].endswith("∞"):
        return -math.inf if match[1].startswith("-") else math.inf
    return float(match[1]) * UNITS[match[2] or ""]


def table_of(text: str, name: str) -> Table | None:
    """Return a table in Markdown and the paragraph below it; None where there is none.

    A column whose cells are not all numbers or dashes is text.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|")
    ]
    if len(cells) < 3:
        return None
    heads, rows = cells[0], [row for row in cells[2:] if len(row) == len(cells[0])]
    caption = " ".join(line for line in lines if line and not line.startswith("|"))
    numeric = [_is_numeric([row[c] for row in rows]) for c in range(len(heads))]
    return Table(
        name,
        heads,
        [[_cell(cell, numeric[c]) for c, cell in enumerate(row)] for row in rows],
        caption,
    )


def _is_numeric(column: list[str]) -> bool:
    known = [_plain(cell) for cell in column if _plain(cell) != "–"]
    return bool(known) and all(number_of(cell) is not None for cell in known)


def _cell(text: str, numeric: bool) -> Cell:
    plain = _plain(text)
    return Cell(plain, number_of(plain) if numeric else None, strong=plain != text)


def _plain(text: str) -> str:
    return text[2:-2] if len(text) > 4 and text.startswith("**") and text.endswith("**") else text
