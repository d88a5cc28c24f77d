"""Compare insituml with Avalanche 0.6: the same streams, models, optimizer, epochs and memory.

Each method runs in a process of its own with one thread, ours and theirs by turns. Seconds per
step are of the processor and include the work between tasks, such as the Fisher information. EWC
and SI use each side's own best strength from one grid. Where Avalanche's method does not work on
reconstruction, a note says how it fails, and the row is against it with just that mended
(benchmarks/peers_avalanche.py). Avalanche is installed into .venv-peers, beside the environment in
use.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.peers_environment import PeersError, make_environment, outcomes
from benchmarks.peers_protocol import Outcome, Run
from benchmarks.report import Row, options, print_columns, write_json
from insituml.metrics import final_average_error, forgetting

SIDES = ("insituml", "avalanche")
STREAMS = ("toy8", "digits")


@dataclass(frozen=True)
class Case:
    """A method: its strength, the strengths to choose from, whether theirs must be mended."""

    method: str
    strength: float = 1.0
    grid: tuple[float, ...] = ()
    mend: bool = False


CASES = (
    Case("Naive"),
    Case("EWC", 100.0, grid=(10.0, 100.0, 1e3, 1e4, 1e5)),
    Case("OnlineEWC", 100.0, grid=(10.0, 100.0, 1e3, 1e4, 1e5)),
    Case("AGEM"),
    Case("GEM"),
    Case("ExperienceReplay"),
    # Theirs caps each importance at 0.001, so that it may want a much larger strength.
    Case("SynapticIntelligence", 1.0, grid=(1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6), mend=True),
    Case("LwF", mend=True),
    Case("DER", mend=True),
)


@dataclass(frozen=True)
class Comparison:
    """All seeds of one method on one stream, ours and theirs, and what there is to say."""

    stream: str
    method: str
    ours: list[Outcome]
    theirs: list[Outcome]
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.stream} {self.method}"

    def ratio(self, quantity: str) -> float:
        """Ours over theirs: of the medians, for memory of the largest."""
        of = largest if quantity.endswith("_mb") else median
        return of(self.ours, quantity) / of(self.theirs, quantity)

    def excess_error(self) -> float:
        """Final average error, ours minus theirs, in standard errors of that difference."""
        ours, theirs = final_errors(self.ours), final_errors(self.theirs)
        if len(ours) < 2 or len(theirs) < 2:
            return float("nan")
        difference = statistics.mean(ours) - statistics.mean(theirs)
        variance = statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)
        if variance == 0:
            return 0.0 if difference <= 0 else float("inf")
        return difference / variance**0.5

    def rows(self) -> list[Row]:
        """Return the numbers with their goals, then those they come from."""
        rows = [
            Row.at_most(
                f"{self.name}: seconds per step, ours / theirs", self.ratio("seconds_a_step"), 1.0
            ),
            Row.at_most(f"{self.name}: peak memory, ours / theirs", self.ratio("peak_mb"), 1.0),
        ]
        if len(self.ours) > 1:
            name = f"{self.name}: final average error, ours - theirs, standard errors"
            rows.append(Row.at_most(name, self.excess_error(), 2.0))
        for side, runs in zip(SIDES, (self.ours, self.theirs), strict=True):
            for what, value in (
                ("seconds per step", median(runs, "seconds_a_step")),
                ("seconds per step, without the work between tasks", median(runs, "step_seconds")),
                ("final average error", mean(final_errors(runs))),
                ("forgetting", mean(forgettings(runs))),
                ("peak memory, MB", largest(runs, "peak_mb")),
                ("growth of memory, MB", largest(runs, "growth_mb")),
            ):
                rows.append(Row(f"{self.name}, {side}: {what}", value))
        return rows


def median(runs: Sequence[Outcome], quantity: str) -> float:
    return statistics.median(getattr(run, quantity) for run in runs)


def largest(runs: Sequence[Outcome], quantity: str) -> float:
    # The first run's, as a rule: later ones find room that it has left behind.
    return max(getattr(run, quantity) for run in runs)


def mean(values: Sequence[float]) -> float:
    return statistics.mean(values) if values else float("nan")


def final_errors(runs: Sequence[Outcome]) -> list[float]:
    return [final_average_error(np.array(run.matrix)) for run in runs if not run.fails]


def forgettings(runs: Sequence[Outcome]) -> list[float]:
    return [forgetting(np.array(run.matrix)) for run in runs if not run.fails]


def best_strength(side: str, setting: Path, case: Case, seeds: Sequence[int]) -> float:
    """Choose from the grid by the mean final error; a run that fails or diverges never wins."""
    runs = [
        Run(case.method, strength, seed, case.mend)
        for strength, seed in itertools.product(case.grid, seeds)
    ]
    errors: dict[float, list[float]] = {strength: [] for strength in case.grid}
    for run, outcome in zip(runs, outcomes(side, setting, runs), strict=True):
        error = float("inf") if outcome.fails else final_average_error(np.array(outcome.matrix))
        errors[run.strength].append(error if np.isfinite(error) else float("inf"))
    return min(errors, key=lambda strength: mean(errors[strength]))


def best_strengths(setting: Path, case: Case, seeds: Sequence[int]) -> dict[str, float]:
    """Choose for both sides at once: here nothing is timed."""
    with ThreadPoolExecutor() as pool:
        found = [pool.submit(best_strength, side, setting, case, seeds) for side in SIDES]
        return {side: future.result() for side, future in zip(SIDES, found, strict=True)}


def compare(
    stream: str, setting: Path, cases: Sequence[Case], seeds: Sequence[int], tuning: Sequence[int]
) -> list[Comparison]:
    """Tune, then train every case with every seed, a side's seeds in one new process."""
    found = []
    for case in cases:
        print(f"{stream}: {case.method}", file=sys.stderr, flush=True)
        strengths, notes = dict.fromkeys(SIDES, case.strength), []
        if case.grid:
            strengths = best_strengths(setting, case, tuning)
            notes.append("strengths {insituml:g}, {avalanche:g}".format(**strengths))
        ours, theirs = (
            outcomes(
                side, setting, [Run(case.method, strengths[side], s, case.mend) for s in seeds]
            )
            for side in SIDES
        )
        if case.mend:
            shipped = Run(case.method, strengths["avalanche"], seeds[0])
            notes.append("as shipped: " + told(outcomes("avalanche", setting, [shipped])[0]))
        found.append(comparison(stream, case, ours, theirs, notes))
    return found


def compare_quickly(stream: str, setting: Path, cases: Sequence[Case]) -> list[Comparison]:
    """Train every case once, untuned, all in one process a side."""
    runs = [Run(case.method, case.strength, 0, case.mend) for case in cases]
    ours, theirs = (outcomes(side, setting, runs) for side in SIDES)
    return [
        comparison(stream, case, [mine], [other], [])
        for case, mine, other in zip(cases, ours, theirs, strict=True)
    ]


def comparison(
    stream: str, case: Case, ours: list[Outcome], theirs: list[Outcome], notes: Sequence[str]
) -> Comparison:
    """Gather what there is to say beside the numbers."""
    told_by_runs = [
        f"{side} {told(runs[0])}" if runs[0].fails else runs[0].note
        for side, runs in zip(SIDES, (ours, theirs), strict=True)
    ]
    note = "; ".join(filter(None, [*notes, *told_by_runs]))
    return Comparison(stream, case.method, ours, theirs, note)


def told(outcome: Outcome) -> str:
    """Say how a run failed, or how fast it was."""
    if outcome.fails:
        return f"fails: {outcome.fails}"
    parts = [f"{1e3 * outcome.seconds_a_step:.2f} ms", outcome.note]
    return ", ".join(filter(None, parts))


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print a table, ours before theirs, and the notes below it."""
    heading = ["", "ms / step", "", "ratio", "steps only", "final error", "", "difference / SE"]
    heading += ["forgetting", "", "peak MB", "", "growth MB", ""]
    lines = []
    for c in comparisons:
        both = (c.ours, c.theirs)
        lines.append(
            [
                c.name,
                *(cell(1e3 * median(runs, "seconds_a_step"), ".2f") for runs in both),
                cell(c.ratio("seconds_a_step"), ".2f"),
                cell(c.ratio("step_seconds"), ".2f"),
                *(spread(final_errors(runs)) for runs in both),
                cell(c.excess_error(), "+.1f"),
                *(cell(mean(forgettings(runs)), ".3f") for runs in both),
                *(cell(largest(runs, "peak_mb"), ".0f") for runs in both),
                *(cell(largest(runs, "growth_mb"), ".1f") for runs in both),
            ]
        )
    print_columns(heading, lines)
    print()
    for c in comparisons:
        if c.note:
            print(f"{c.name}: {c.note}")


def cell(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)


def spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return cell(mean(values), ".3f") + deviation


def main() -> None:
    """Run the comparison."""
    parser = options(__doc__)
    names = [case.method for case in CASES]
    parser.add_argument("--setup", action="store_true", help="only make the environment")
    parser.add_argument(
        "--seeds", type=int, default=5, help="trainings a method (default: %(default)s)"
    )
    parser.add_argument("--streams", nargs="+", default=STREAMS, choices=STREAMS)
    parser.add_argument("--methods", nargs="+", default=names, choices=names)
    args = parser.parse_args()
    try:
        make_environment()
        if args.setup:
            return
        comparisons = []
        with tempfile.TemporaryDirectory() as folder:
            from benchmarks import peers_streams

            cases = [case for case in CASES if case.method in args.methods]
            for stream in args.streams[:1] if args.quick else args.streams:
                file = Path(folder) / f"{stream}.pt"
                setting = getattr(peers_streams, stream)()
                if args.quick:
                    replace(setting, epochs=4).save(file)
                    comparisons += compare_quickly(stream, file, cases)
                else:
                    setting.save(file)
                    seeds, tuning = range(args.seeds), range(100, 104)
                    comparisons += compare(stream, file, cases, seeds, tuning)
    except PeersError as error:
        sys.exit(f"error: {error}")
    print_comparisons(comparisons)
    rows = [row for c in comparisons for row in c.rows()]
    for row in rows:
        if not row.ok:
            print(f"missed: {row.name} is {row.value:.3g}, goal {row.goal}")
    if args.json:
        write_json(rows, args.json)


if __name__ == "__main__":
    main()
