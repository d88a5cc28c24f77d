"""What a stream brought, and the chapter on learning from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insituml_pipelines.reporting.blocks import Details, Facts
from insituml_pipelines.reporting.figure_sections import pictures_of, section_blocks
from insituml_pipelines.reporting.leaderboard import board_table
from insituml_pipelines.reporting.markdown_table import table_of
from insituml_pipelines.reporting.results_folder import BOARD, ResultsFolder
from insituml_pipelines.reporting.verdict import lead, title_of

SIMULATIONS = "results/simulation_errors.md"
"""Of an ensemble."""


def stream_facts(log: Mapping[str, Any], root: Path) -> Facts:
    """Return what is known of how a stream went: what came, what did not, how it ended."""
    gaps, rejected = list(log.get("gaps") or []), list(log.get("rejected") or [])
    items = [
        ("how it ended", str(log.get("ending") or "unknown")),
        ("iterations learned from", str(log.get("iterations", "unknown"))),
        ("lost", f"{log.get('lost', 0)} in {len(gaps)} gaps{_named(gaps)}"),
        ("rejected", f"{len(rejected)}{_named(rejected)}"),
    ]
    items += [
        ("simulation", " ".join(map(str, change)))
        for change in log.get("changes") or []
        if isinstance(change, list)
    ]
    if diverged := log.get("diverged"):
        items.append(("diverged", ", ".join(map(str, diverged))))
    try:
        waited = json.loads((root / "timings/waiting.json").read_text())
        items += [
            ("time", f"{float(waited['seconds']):.3g} s"),
            ("share of it spent waiting", f"{100 * float(waited['wait_share']):.2g} %"),
        ]
    except (OSError, ValueError, KeyError, TypeError):
        items.append(("time", "not noted"))
    return Facts(items)


def _named(entries: list[Any]) -> str:
    """Name the first few gaps or rejected iterations with their reasons."""
    if not entries:
        return ""
    texts = [
        f"{'–'.join(map(str, entry[:-1]))} ({entry[-1]})"
        for entry in entries[:5]
        if isinstance(entry, list) and len(entry) > 1
    ]
    more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
    return f": {'; '.join(texts)}{more}" if texts else ""


def transit_blocks(root: Path) -> list[Any]:
    """Return the chapter on what was learned in transit below ``root``; empty where nothing was."""
    if not (root / BOARD).is_file():
        return []
    from insituml_pipelines.reporting.blocks import Text

    results = ResultsFolder(root)
    title = title_of(results)
    blocks: list[Any] = [Text(" ".join(lead(results)))]
    if (log := results.stream_log()) is not None:
        blocks.append(stream_facts(log, root))
    blocks.append(board_table(results, "Methods that learned in transit, best first"))
    by_simulation = root / SIMULATIONS
    if by_simulation.is_file() and (
        table := table_of(by_simulation.read_text(encoding="utf-8"), "Errors by simulation")
    ):
        blocks.append(table)
    figures = results.figures()
    for place in ("leaderboard", "matrices", "forgetting"):
        blocks += pictures_of(place, figures, title)
    shown = section_blocks("reconstructions", results, title)
    blocks += [Details(f"Reconstructions: {d.summary}", d.blocks) for d in shown]
    return blocks
