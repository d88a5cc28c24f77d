"""When the tables of a page of measurements were written, by Git's record of their lines."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

MEASURED = ("benchmarks.md", "methods.md", "data.md")
NUMBERS = re.compile(r"^\|.*\|\s*[*−-]*\d")
"""A row in which a cell begins with a number."""


def with_dates(markdown: str, path: Path) -> str:
    """Write below the head of each section with a table of numbers when that was written.

    Without Git, or where its record does not reach back, nothing is said.
    """
    if path.name not in MEASURED or not (dates := line_dates(path)):
        return markdown
    lines = markdown.splitlines()
    # What MkDocs hands over lacks the lines of metadata; our pages have none.
    heads = [k for k, line in enumerate(lines) if line.startswith("#")]
    for first, end in reversed(list(zip(heads, [*heads[1:], len(lines)], strict=True))):
        written = [dates[k] for k in range(first, end) if NUMBERS.match(lines[k]) and k in dates]
        if written:
            lines.insert(first + 1, f"\n*Numbers last changed on {max(written)}.*\n")
    return "\n".join(lines) + "\n"


def line_dates(path: Path) -> dict[int, str]:
    """Return the day on which each line was committed, from 0; of a shallow clone none."""
    blame = ["git", "blame", "--line-porcelain", "--", path.name]
    try:
        done = subprocess.run(blame, cwd=path.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no Git, or no clone
        return {}
    dates: dict[int, str] = {}
    place, day, known = 0, "", True
    for line in done.stdout.splitlines():
        if found := re.match(r"^\^?[0-9a-f]{40} \d+ (\d+)", line):
            place, known = int(found[1]) - 1, True
        elif line.startswith("author-time "):
            day = datetime.fromtimestamp(int(line.split()[1]), UTC).date().isoformat()
        elif line == "boundary":
            known = False
        elif line.startswith("\t") and known:
            dates[place] = day
    return dates
