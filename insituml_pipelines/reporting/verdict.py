"""What was compared and who won, in sentences and in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from insituml import gap, metrics
from insituml.plots import method_label
from insituml.plots.style import compact
from insituml_pipelines.reporting.blocks import Tile
from insituml_pipelines.reporting.results_folder import ResultsFolder, Row, number
from insituml_pipelines.results.labels import metric_label

ERROR = "final_average_error"
SMALL_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
)


def title_of(results: ResultsFolder) -> str:
    """Return what the comparison is called: by its experiment, or its data."""
    from insituml_pipelines.results.figures import titled

    if results.manifest is not None and results.summaries:
        return titled(results.summaries, results.manifest)
    if results.manifest is not None:
        return results.manifest.title
    experiments = sorted({s.experiment for s in results.summaries.values()} - {""})
    return experiments[0] if len(experiments) == 1 else results.root.resolve().name


def error_name(results: ResultsFolder) -> str:
    """Return what the errors are called, such as ``relative L2 error``."""
    return next((metric_label(s.metric) for s in results.summaries.values()), "error")


def lead(results: ResultsFolder) -> list[str]:
    """Return a few sentences: what was compared, who is best, and how sure that is."""
    won, *sure = _won(results.rows, error_name(results))
    return [f"{_compared(results)} {_capitalised(won)}", *([" ".join(sure)] if sure else [])]


def _compared(results: ResultsFolder) -> str:
    rows, manifest = results.rows, results.manifest
    count = len(rows)
    who = f"{_in_words(count).capitalize()} method{'s' if count > 1 else ''}"
    what = "one task after the other"
    if manifest is not None:
        parts = f", {', '.join(manifest.components)}" if manifest.components else ""
        tasks = f"{_in_words(len(manifest.tasks))} tasks"
        where = " from a running stream" if manifest.in_transit else ""
        what = f"{tasks} of {manifest.name}{parts}{where}, one after the other"
    seeds = int(number(rows[0], "seeds")) if rows[0].get("seeds") else 1
    often = f"with {_in_words(seeds)} seeds each" if seeds > 1 else "with one seed"
    return f"{who} learned {what}, {often}."


def best_row(rows: Sequence[Row]) -> Row | None:
    """Return the best method that competes: no bound, nor the one that does nothing."""
    able = [row for row in rows if metrics.competes(row["method"], is_bound=_true(row["is_bound"]))]
    return next((row for row in able if not math.isnan(number(row, ERROR))), None)


def _won(rows: Sequence[Row], error: str) -> list[str]:
    best = best_row(rows)
    if best is None:
        return ["None of them competes: bounds and plain training stand beside."]
    value, name = number(best, ERROR), method_label(best["method"])
    said = f"{name} ends with the lowest average error of those that compete, {written(best)}"
    said = f"{said} ({error})"
    by_name = {row["method"]: row for row in rows}
    beside = []
    for method, what in ((gap.REFERENCE, ""), (gap.BOUND, " (the bound)")):
        if method in by_name:
            other = number(by_name[method], ERROR)
            beside.append(
                f"{_percent(abs(1 - value / other))} {'below' if value < other else 'above'} "
                f"{method_label(method)}{what}"
                if other > 0 and math.isfinite(other)
                else f"{method_label(method)}{what} at {compact(other)}"
            )
    return [f"{said}{': ' if beside else ''}{' and '.join(beside)}.", *_sure(rows, best)]


def _sure(rows: Sequence[Row], best: Row) -> list[str]:
    verdicts = {row["method"]: row.get("verdict", "") for row in rows if row is not best}
    if not any(verdicts.values()):
        return ["With so few seeds nothing can be said of how sure that is."]
    if ahead := [method_label(m) for m, verdict in verdicts.items() if verdict == "best"]:
        who = f"{_listed(ahead)}, which does nothing"
        if best.get("verdict") == "on a par":
            return [f"Seeds cannot tell it from {who}."]
        return [f"{_capitalised(who)}, is significantly better."]
    alike = [method_label(m) for m, verdict in verdicts.items() if verdict == "on a par"]
    worse = [method_label(m) for m, verdict in verdicts.items() if verdict == "worse"]
    said = []
    if alike:
        said.append(f"Seeds cannot tell it from {_listed(alike)}.")
    if worse:
        verb = "is" if len(worse) == 1 else "are"
        said.append(f"{_capitalised(_listed(worse))} {verb} significantly worse.")
    return said


def tiles(results: ResultsFolder) -> list[Tile]:
    """Return the numbers to be seen first."""
    by_name = {row["method"]: row for row in results.rows}
    best = best_row(results.rows)
    bound = next((m for m in (gap.BOUND, gap.EQUAL_COMPUTE) if m in by_name), None)
    shown = [(gap.REFERENCE, "does nothing against forgetting"), (bound, "all tasks at once")]
    found = [
        Tile(compact(number(by_name[method], ERROR)), method_label(method), remark)
        for method, remark in shown
        if method in by_name
    ]
    if best is None:
        return found
    name, error = method_label(best["method"]), error_name(results)
    found.insert(0, Tile(compact(number(best, ERROR)), f"{name}, the best", error))
    if not math.isnan(share := number(best, "gap_closed")):
        remark = f"0 % is {gap.REFERENCE}, 100 % the bound"
        found.append(Tile(f"{100 * share:.0f} %", "of the gap closed", remark))
    if not math.isnan(lost := number(best, "forgetting")):
        found.append(Tile(compact(lost), "forgotten by the best", "growth since it was learned"))
    return found


def written(row: Row) -> str:
    """Return a method's error with its spread."""
    spread = number(row, f"{ERROR}_std")
    mean = compact(number(row, ERROR))
    if math.isnan(spread) or not math.isfinite(number(row, ERROR)):
        return mean
    if "e" in mean:
        return f"{mean} ± {compact(spread, 2)}"
    return f"{mean} ± {spread:.{len(mean.partition('.')[2])}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _true(text: str) -> bool:
    return text.strip().lower() == "true"


def _in_words(count: int) -> str:
    return SMALL_NUMBERS[count] if 0 <= count < len(SMALL_NUMBERS) else str(count)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
