"""The page that sets two folders of results side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insituml.gap import REFERENCE
from insituml.plots import method_label
from insituml.plots.style import compact, human_bytes
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.reporting import provenance
from insituml_pipelines.reporting.blocks import Cell, Details, Page, Pair, Picture, Section, Table
from insituml_pipelines.reporting.configuration import MISSING, flat
from insituml_pipelines.reporting.figure_sections import PLACES, WORDS, own_pictures
from insituml_pipelines.reporting.pictures import picture
from insituml_pipelines.reporting.results_folder import ResultsFolder, Row, number
from insituml_pipelines.reporting.verdict import ERROR, best_row, error_name, title_of, written
from insituml_pipelines.runs.identity import Identity

Both = tuple[ResultsFolder, ResultsFolder]
CAPTION = (
    "Change: of the second folder against the first; below 0 the second is better. Bold: beyond "
    "the spread over seeds, the root of the sum of both squares, which is no test."
)


def page_of(both: Both) -> Page:
    """Return how the results of two folders differ, chapter by chapter.

    Raises
    ------
    UserError
        If no method stands in both.
    """
    names = labels_of([results.root for results in both])
    common = [m for m in both[0].methods if m in both[1].methods]
    if not common:
        raise UserError(
            f"{names[0]} compares {', '.join(both[0].methods)} and {names[1]} "
            f"{', '.join(both[1].methods)}: no method stands in both"
        )
    shared = [
        Section(place, heading, _pairs(place, both, common))
        for place, heading in (
            ("leaderboard", "Leaderboards"),
            ("significance", "Significance"),
            ("matrices", "Loss matrices"),
            ("forgetting", "Forgetting"),
            ("reconstructions", "Reconstructions"),
            ("physics", "Spectra and energies"),
            ("rates", "Rate and distortion"),
        )
    ]
    chapters = [
        Section("metrics", "Metrics", [_metrics(both, common, names)]),
        Section("configuration", "Configuration", _configuration(both, common, names)),
        *shared,
        Section("provenance", "Provenance", _provenance(both, names)),
    ]
    found = [chapter for chapter in chapters if chapter.blocks]
    return Page(f"{names[0]} and {names[1]}", _lead(both, common, names), (), found)


def labels_of(roots: Sequence[Path]) -> list[str]:
    """Return the ends of paths that tell them apart."""
    parts = [root.resolve().parts for root in roots]
    length = next(
        (k for k in range(1, max(map(len, parts))) if len({p[-k:] for p in parts}) == len(parts)),
        len(parts[0]),
    )
    return ["/".join(p[-length:]) for p in parts]


def _lead(both: Both, common: Sequence[str], names: Sequence[str]) -> list[str]:
    count = f"{len(common)} method{'s stand' if len(common) > 1 else ' stands'} in both folders"
    said = []
    for results, name in zip(both, names, strict=True):
        best = best_row(results.rows)
        winner = "nobody competes" if best is None else _winner(best, results.rows)
        error = "" if best is None else f", {written(best)} ({error_name(results)})"
        said.append(f"in {name} ({title_of(results)}) {winner}{error}")
    lead = [f"{count}: {'; '.join(said)}."]
    data = [{s.identity.data for s in results.summaries.values()} for results in both]
    if data[0] and data[1] and data[0] != data[1]:
        lead.append("They learned other data: errors may not compare.")
    return lead


def _winner(best: Row, rows: Sequence[Row]) -> str:
    """Name the best method of those that compete; who does nothing may have done better."""
    lower = [r for r in rows if r["method"] == REFERENCE and number(r, ERROR) < number(best, ERROR)]
    return f"{method_label(best['method'])} is best{' of those that compete' if lower else ''}"


def _metrics(both: Both, common: Sequence[str], names: Sequence[str]) -> Table:
    rows = []
    for method in common:
        first, second = (next(r for r in b.rows if r["method"] == method) for b in both)
        cells = [Cell(method_label(method))]
        for metric in (ERROR, "forgetting"):
            before, after = (number(row, metric) for row in (first, second))
            spread = math.hypot(*(number(row, f"{metric}_std") for row in (first, second)))
            cells += [_cell(before), _cell(after), _change(before, after, spread)]
        sizes = [number(row, "memory_bytes") for row in (first, second)]
        cells += [_cell(size, human_bytes(size)) for size in sizes]
        rows.append(cells)
    heads = ["method"]
    for what in ("error", "forgetting"):
        heads += [f"{what}, {names[0]}", f"{what}, {names[1]}", f"change of {what}"]
    heads += [f"memory, {name}" for name in names]
    alone = [
        f"Only in {name}: {', '.join(method_label(m) for m in b.methods if m not in common)}."
        for b, name in zip(both, names, strict=True)
        if len(b.methods) > len(common)
    ]
    return Table("Metrics side by side", heads, rows, " ".join([CAPTION, *alone]))


def _cell(value: float, text: str = "") -> Cell:
    known = not math.isnan(value)
    return Cell((text or compact(value)) if known else MISSING, value if known else None)


def _change(before: float, after: float, spread: float) -> Cell:
    """Return what became of a number, bold where it is beyond the spread."""
    change = after - before
    if math.isnan(change):
        return Cell(MISSING)
    share = f" ({100 * change / before:+.0f} %)" if before > 0 and math.isfinite(change) else ""
    sign = "+" if change > 0 else ""
    return Cell(f"{sign}{compact(change)}{share}", change, strong=abs(change) > spread)


def _configuration(both: Both, common: Sequence[str], names: Sequence[str]) -> list[Any]:
    """Return one row a key that differs; what does so for all methods alike stands once."""
    found: dict[tuple[str, str, str], list[str]] = {}
    known = [m for m in common if all(m in results.summaries for results in both)]
    for method in known:
        first, second = (_all_of(results.summaries[method].identity) for results in both)
        for key in dict.fromkeys([*first, *second]):
            values = (first.get(key, MISSING), second.get(key, MISSING))
            if values[0] != values[1]:
                found.setdefault((key, *values), []).append(method)
    rows = [
        [
            Cell(key),
            Cell("all" if len(methods) == len(known) else ", ".join(map(method_label, methods))),
            Cell(before),
            Cell(after),
        ]
        for (key, before, after), methods in found.items()
    ]
    heads = ["key", "methods", *names]
    return [Table("Keys that differ", heads, rows, f"{MISSING}: has no such key.")] if rows else []


def _all_of(identity: Identity) -> dict[str, str]:
    """Return the configuration of a run, its data, code and versions."""
    short = {k: getattr(identity, k)[: provenance.SHORT] for k in ("data", "code")}
    versions = {f"versions.{name}": version for name, version in identity.versions.items()}
    return {**flat(identity), **short, **versions}


def _pairs(place: str, both: Both, common: Sequence[str]) -> list[Any]:
    """Return the figures of a chapter side by side, those of each method to unfold."""
    figures = [results.figures() for results in both]
    blocks: list[Any] = [
        Pair(*(_picture(files.get(name), WORDS[name]) for files in figures))
        for name in PLACES[place].shared
        if any(name in files for files in figures)
    ]
    for method in common:
        own = [own_pictures(place, files, method, common) for files in figures]
        names = dict.fromkeys([*own[0], *own[1]])
        pairs = [Pair(own[0].get(name), own[1].get(name)) for name in names]
        if pairs:
            blocks.append(Details(method_label(method), pairs))
    return blocks


def _picture(file: Path | None, alt: str) -> Picture | None:
    return None if file is None else picture(file, alt)


def _provenance(both: Both, names: Sequence[str]) -> list[Any]:
    blocks = []
    for results, name in zip(both, names, strict=True):
        times = provenance.times(results, f"Time that training took, {name}")
        shown = [provenance.facts(results), *([times] if times else [])]
        blocks.append(Details(name, shown, open=True))
    return blocks
