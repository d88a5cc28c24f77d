"""The page about a sweep: its table and figure, and how its jobs were configured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.reporting.blocks import Details, Facts, Page, Section, Tile
from insituml_pipelines.reporting.configuration import common_table, differences_table, flat
from insituml_pipelines.reporting.markdown_table import table_of
from insituml_pipelines.reporting.pictures import picture
from insituml_pipelines.reporting.provenance import SHORT
from insituml_pipelines.results.labels import metric_label
from insituml_pipelines.results.summary import FILE, Summary, read_summary
from insituml_pipelines.sweeps.results import FIGURE, LABEL, MARKDOWN

FAILED = "failed"


def is_sweep(folder: Path) -> bool:
    """Return whether a sweep has left its table in a folder."""
    return (folder / MARKDOWN).is_file()


def page_of(folder: Path) -> Page:
    """Return what came of a sweep.

    Raises
    ------
    UserError
        If its table is damaged.
    """
    text = (folder / MARKDOWN).read_text(encoding="utf-8", errors="replace")
    table = table_of(text.replace(f"| {FAILED} |", "| – |"), "Jobs, best first")
    if table is None:
        raise UserError(f"{folder / MARKDOWN} holds no table; run the sweep again")
    summaries = _summaries(folder)
    failed = text.count(f"| {FAILED} |")
    best = table.rows[0]
    setting = ", ".join(f"{h} = {c.text}" for h, c in zip(table.heads[:-1], best, strict=False))
    error = next((metric_label(s.metric) for s in summaries.values()), "error")
    part = next((f" on the {s.part} part" for s in summaries.values()), "")
    lead = [
        f"{len(table.rows)} jobs{f', {failed} of them failed' if failed else ''}. The best has "
        f"{setting}: {LABEL} {best[-1].text} ({error}){part}."
    ]
    if failed:
        table = replace(table, caption="–: the job failed.")
    figure = folder / FIGURE
    shown = [picture(figure, f"{LABEL} by each setting")] if figure.is_file() else []
    chapters = [
        Section("jobs", "Jobs", [table, *shown]),
        Section("configuration", "Configuration", _configuration(summaries)),
        Section("provenance", "Provenance", _provenance(summaries)),
    ]
    return Page(
        f"Sweep {folder.resolve().name}",
        lead,
        [Tile(str(best[-1].text), "lowest error", error)],
        [chapter for chapter in chapters if chapter.blocks],
    )


def _summaries(folder: Path) -> dict[str, Summary]:
    """Return the summary of each job's evaluation, by the job's name."""
    found = {}
    for job in sorted(path for path in folder.iterdir() if path.is_dir()):
        for file in sorted(job.glob(f"[!.]*/[!.]*/{FILE}"))[:1]:
            found[job.name] = read_summary(file.parent)
    return found


def _configuration(summaries: dict[str, Summary]) -> list[Any]:
    configurations = {job: flat(summary.identity) for job, summary in summaries.items()}
    unlike = differences_table(configurations, list(summaries), "Keys in which the jobs differ")
    alike = common_table(configurations, "Configuration that all jobs share")
    return [
        *([unlike] if unlike else []),
        *([Details("What all jobs share", [alike])] if alike else []),
    ]


def _provenance(summaries: dict[str, Summary]) -> list[Any]:
    if not summaries:
        return []
    identities = [summary.identity for summary in summaries.values()]
    return [
        Facts(
            [
                ("data fingerprint", ", ".join(sorted({i.data[:SHORT] for i in identities}))),
                ("code that trained", ", ".join(sorted({i.code[:SHORT] for i in identities}))),
                ("versions", ", ".join(f"{k} {v}" for k, v in identities[0].versions.items())),
            ]
        )
    ]
