"""Error against memory: what each method makes of 0.1 to 30 % of a stream's bytes.

Every point is trained and evaluated by the pipeline's own commands in the folder given by
``--folder``, which then holds ``memory_curves.png`` too. What was trained already is kept: the
same command goes on where it was stopped. Of GPM, thresholds make the memory; the share that is
drawn and told is what a method says it keeps. A share that does not hold one sample gives no point.
"""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from benchmarks.memory_points import CURVES, Stream
from benchmarks.report import Row, concluded, options

REPOSITORY = Path(__file__).parents[1]
SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
LEVELS = ("naive", "incremental_pca", "joint", "joint_converged")
"""Methods without a memory, and bounds: those that conf/method has."""
FIGURE = "memory_curves.png"
LITTLE, CLOSE = 0.05, 1.25
"""Goal: with at most this share of the stream, at most so many times the converged bound."""


@dataclass(frozen=True)
class Measured:
    """What an evaluation says: errors and bytes, one a seed."""

    metric: str
    errors: list[float]
    bytes: list[float]


class Curves:
    """The curves of one experiment.

    Parameters
    ----------
    experiment
        File in conf/experiment.
    folder
        Gets data, checkpoints and the figure.
    seeds
        Of every training.
    overrides
        Further overrides of every training, such as ``training.epochs=2``.
    """

    def __init__(
        self, experiment: str, folder: Path, seeds: int, overrides: Sequence[str] = ()
    ) -> None:
        self.experiment = experiment
        self.folder = folder
        self.seeds = str(list(range(seeds))).replace(" ", "")
        self.overrides = list(overrides)

    def prepare(self) -> None:
        """Generate and split the data, unless they are there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for stage, result in (("generate", "data/raw"), ("split", "data/tasks")):
            if not (self.folder / result).exists():
                self._run(stage)

    def stream(self) -> Stream:
        """Return the sizes of samples and, by the naive model, of latents; train it for that."""
        import torch

        from insituml import load_checkpoint
        from insituml.data import TaskFiles

        self.measure("naive", "level", "naive", ())
        tasks = TaskFiles.open(self.folder / "data/tasks").tasks()
        checkpoint = self.folder / f"level/naive/runs/naive/seed_0/task_{len(tasks) - 1}.pt"
        learner = load_checkpoint(checkpoint).eval()
        one = tuple(column[:1] for column in tasks[0].train)
        with torch.no_grad():
            latent = learner.encode(one[0]).numel()
        return Stream(
            samples=sum(len(task.train[0]) for task in tasks),
            sample_bytes=sum(column.nbytes for column in one),
            numbers=one[0].numel(),
            latent=latent,
            components=one[0].shape[1],
        )

    def measure(self, method: str, kind: str, name: str, overrides: Sequence[str]) -> Measured:
        """Return the result of one training, from its folder where it is known already."""
        place = self.folder / kind / name
        summary = place / "evaluations" / method / "summary.json"
        if not summary.exists():
            sweep = [
                f"hydra.sweep.dir={place.parent.resolve()}",
                f"hydra.sweep.subdir={place.name}",
                "part=test",  # a sweep evaluates its one job; nothing is chosen by it
            ]
            chosen = [f"method={method}", f"training.seeds={self.seeds}", *overrides]
            self._run("train", "-m", *chosen, *sweep)
        found = json.loads(summary.read_text())
        seeds = list(found["seeds"].values())
        return Measured(
            metric=found["metric"],
            errors=[_or_nan(seed["final_average_error"]) for seed in seeds],
            bytes=[_or_nan(seed["memory_bytes"]) for seed in seeds],
        )

    def drift(self, method: str, kind: str, name: str) -> float:
        """Return how far held-out latents of past tasks have moved at the end, in the mean."""
        file = self.folder / kind / name / "evaluations" / method / "latent_drift.csv"
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        last = max((int(row["trained_through"]) for row in rows), default=0)
        moved = [
            float(row["value"])
            for row in rows
            if int(row["trained_through"]) == last and int(row["evaluated_on"]) < last
        ]
        return fmean(moved) if moved else math.nan

    def _run(self, stage: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"insituml_pipelines.{stage}", *arguments]
        command.append(f"experiment={self.experiment}")
        if stage == "train":
            command += [*self.overrides, "training.workers=0", "tracking=none"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[2:])}:\n{done.stderr.strip()}")


@dataclass(frozen=True)
class Job:
    """One training: of a point of a curve, or of a level."""

    curve: str
    method: str
    kind: str
    name: str
    overrides: tuple[str, ...]


def jobs_of(
    stream: Stream, shares: Sequence[float], curves: Sequence[str], levels: Sequence[str]
) -> list[Job]:
    """Return all trainings, levels first."""
    found = [Job(level, level, "level", level, ()) for level in levels]
    for name in curves:
        curve = CURVES[name]
        found += [
            Job(name, curve.method, name, p.name, (*curve.overrides, *p.overrides))
            for p in curve.points(stream, shares)
        ]
    return found


def known_levels(wanted: Sequence[str] = LEVELS) -> list[str]:
    """Return which of the levels conf/method has."""
    return [name for name in wanted if (REPOSITORY / f"conf/method/{name}.yaml").exists()]


def rows_of(
    curves: Curves, stream: Stream, results: dict[Job, Measured], *, goals: bool
) -> list[Row]:
    """Return one row a point, one a level, what latents drift, and what is to be reached."""
    rows, label = [], curves.experiment
    for job, found in results.items():
        where = (
            f" with {_percent(fmean(found.bytes) / stream.bytes)}" if job.kind != "level" else ""
        )
        name = f"{label}: {found.metric} of {job.curve}{where}"
        rows.append(Row(name, fmean(found.errors)))
    for job in results:
        if job.kind in ("replay_latents", "sketched_replay", "experience_replay"):
            name = f"{label}: drift of past latents, {job.curve} at {float(job.name):.1%}"
            rows.append(Row(name, curves.drift(job.method, job.kind, job.name)))
    return rows + (_goals(label, stream, results) if goals else [])


def _goals(label: str, stream: Stream, results: dict[Job, Measured]) -> list[Row]:
    levels = {
        job.curve: fmean(found.errors) for job, found in results.items() if job.kind == "level"
    }
    little = [
        fmean(found.errors)
        for job, found in results.items()
        if job.kind != "level" and fmean(found.bytes) <= LITTLE * stream.bytes
    ]
    best = min(little, default=math.nan)
    limits = {"joint_converged": CLOSE, "incremental_pca": 1.0}
    return [
        Row.at_most(f"{label}: best with at most {LITTLE:.0%} / {name}", best / levels[name], limit)
        for name, limit in limits.items()
        if name in levels
    ]


def draw(curves: Curves, stream: Stream, results: dict[Job, Measured]) -> Path:
    """Write the figure; return its path."""
    from insituml import plots
    from insituml_pipelines.results.labels import metric_label

    drawn = {}
    for name in dict.fromkeys(job.curve for job in results if job.kind != "level"):
        points = [found for job, found in results.items() if job.kind == name]
        smallest = (CURVES[name].smallest(stream) or 0) / stream.bytes
        drawn[name] = plots.MemoryCurve(
            shares=[fmean(point.bytes) / stream.bytes for point in points],
            errors=[point.errors for point in points],
            smallest=smallest if smallest > min(SHARES) else None,  # less was asked for in vain
        )
    levels = {job.curve: found.errors for job, found in results.items() if job.kind == "level"}
    metric = next(iter(results.values())).metric
    figure = plots.memory_curves(
        drawn,
        levels,
        metric_label=f"final average {metric_label(metric)}",
        title=f"{curves.experiment}: what a byte of memory buys",
    )
    return plots.save(figure, curves.folder / FIGURE)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _percent(share: float) -> str:
    return f"{100 * share:.2g} % of the stream"


def run(
    curves: Curves,
    shares: Sequence[float],
    names: Sequence[str],
    levels: Sequence[str],
    workers: int,
    *,
    goals: bool,
) -> list[Row]:
    """Train what is not there yet, draw, and return the rows."""
    curves.prepare()
    stream = curves.stream()
    jobs = jobs_of(stream, shares, names, levels)

    def work(job: Job) -> Measured:
        return curves.measure(job.method, job.kind, job.name, job.overrides)

    with ThreadPoolExecutor(workers) as pool:
        found = list(tqdm(pool.map(work, jobs), total=len(jobs), unit="point"))
    results = dict(zip(jobs, found, strict=True))
    draw(curves, stream, results)
    return rows_of(curves, stream, results, goals=goals)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--experiment", default="lwfa", help="file in conf/experiment")
    parser.add_argument("--folder", type=Path, help="default: memory_curves/<experiment>")
    parser.add_argument("--curves", default=",".join(CURVES), help=f"of {', '.join(CURVES)}")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each point")
    parser.add_argument("--workers", type=int, default=2, help="points side by side")
    parser.add_argument("overrides", nargs="*", help="of every training, as training.epochs=2")
    parsed = parser.parse_intermixed_args(arguments)
    names = parsed.curves.split(",")
    if unknown := set(names) - set(CURVES):
        parser.error(f"no curve {', '.join(unknown)}; known: {', '.join(CURVES)}")
    if parsed.quick:
        overrides = [*parsed.overrides, "training.epochs=1"]
        with tempfile.TemporaryDirectory() as place:
            curves = Curves(parsed.experiment, Path(place), 1, overrides)
            few = [name for name in names if name in ("experience_replay", "sketched_replay")]
            rows = run(curves, (0.01,), few or names[:1], ["naive"], parsed.workers, goals=False)
    else:
        folder = parsed.folder or Path("memory_curves") / parsed.experiment
        curves = Curves(parsed.experiment, folder, parsed.seeds, parsed.overrides)
        rows = run(curves, SHARES, names, known_levels(), parsed.workers, goals=True)
        print(f"figure: {folder / FIGURE}")
    return concluded(rows, parsed.json)


if __name__ == "__main__":
    raise SystemExit(main())
