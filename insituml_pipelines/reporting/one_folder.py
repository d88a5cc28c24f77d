"""The page about one folder of results."""

from __future__ import annotations

from typing import Any

from insituml.plots import method_label
from insituml_pipelines.reporting import provenance
from insituml_pipelines.reporting.blocks import Details, Page, Section, Table, Text
from insituml_pipelines.reporting.configuration import common_table, differences_table, flat
from insituml_pipelines.reporting.figure_sections import others, section_blocks
from insituml_pipelines.reporting.leaderboard import board_table
from insituml_pipelines.reporting.markdown_table import table_of
from insituml_pipelines.reporting.results_folder import ResultsFolder
from insituml_pipelines.reporting.transit import stream_facts, transit_blocks
from insituml_pipelines.reporting.verdict import lead, tiles, title_of

MATRICES = (
    "Row by row: after which task the error on each task was measured. Below the diagonal is what "
    "was learned before, above it what is still to come."
)


def page_of(results: ResultsFolder) -> Page:
    """Return what there is to say of one folder, chapter by chapter."""
    title = title_of(results)
    figures = [
        ("matrices", "Loss matrices", [Text(MATRICES)], 0),
        ("forgetting", "Forgetting", [], 0),
        ("reconstructions", "Reconstructions", [], 1),
        ("physics", "Spectra and energies", [], 0),
        ("rates", "Rate and distortion", [], 0),
    ]
    chapters = [
        Section("leaderboard", "Leaderboard", _leaderboard(results, title)),
        Section("significance", "Significance", _significance(results, title)),
        Section("errors", "Errors by component", _table(results, "errors.md", "Errors at the end")),
    ]
    for key, heading, before, unfolded in figures:
        shown = section_blocks(key, results, title, unfolded=unfolded)
        chapters.append(Section(key, heading, [*before, *shown] if shown else []))
    log = results.stream_log()
    chapters += [
        Section("stream", "The stream", [stream_facts(log, results.root)] if log else []),
        Section("transit", "In transit", transit_blocks(results.root / "transit")),
        Section("others", "Other figures", others(results.figures(), results.methods)),
        Section("configuration", "Configuration", _configuration(results)),
        Section("provenance", "Provenance", _provenance(results)),
    ]
    found = [chapter for chapter in chapters if chapter.blocks]
    return Page(title, lead(results), tiles(results), found)


def _leaderboard(results: ResultsFolder, title: str) -> list[Any]:
    notes = {m: s.note for m, s in results.summaries.items() if s.note}
    said = [Text(f"{method_label(m)}: {note}") for m, note in notes.items()]
    return [
        board_table(results, "All methods, best first"),
        *said,
        *section_blocks("leaderboard", results, title),
    ]


def _significance(results: ResultsFolder, title: str) -> list[Any]:
    text = results.text("differences.md").strip()
    table = table_of(text, "Differences from the best method")
    shown = [table] if table else [Text(text)] if text else []
    return [*shown, *section_blocks("significance", results, title)]


def _table(results: ResultsFolder, file: str, name: str) -> list[Table]:
    table = table_of(results.text(file), name)
    return [table] if table else []


def _configuration(results: ResultsFolder) -> list[Any]:
    configurations = {m: flat(s.identity) for m, s in results.summaries.items()}
    if not configurations:
        return []
    labels = [method_label(method) for method in configurations]
    unlike = differences_table(configurations, labels, "Keys in which the methods differ")
    alike = common_table(configurations, "Configuration that all methods share")
    return [
        *([unlike] if unlike else []),
        *([Details("What all methods share", [alike])] if alike else []),
    ]


def _provenance(results: ResultsFolder) -> list[Any]:
    times = provenance.times(results)
    return [provenance.facts(results), *([times] if times else [])]
