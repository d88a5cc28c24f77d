"""Learn from a running simulation: methods and seeds side by side from one stream.

The results lie below ``transit/``, laid out as those of the file pipeline.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.common.cli import Invocation, run_stage
from pipelines.common.errors import UserError
from pipelines.common.schema import Data, Tracking, Training, Transit, validate, validate_target
from pipelines.common.task_files import write_json
from pipelines.train import PARTIAL, build_once, check_device, timing_of

if TYPE_CHECKING:
    from insituml.stream import Description, Ending, RingSource
    from pipelines.runs.worker import Run
    from pipelines.tracking.mlflow import Tracker
    from pipelines.transit.loop import StreamTraining
    from pipelines.transit.streamed_tasks import StreamedTasks

SECTIONS = ("data", "model", "method", "optimizer", "training", "transit", "pipeline", "tracking")
RESULT_KEYS = ("batches_per_step", "max_batches_per_step", "recent_steps", "task_samples")
"""Settings of the stream that weights depend on, beside its samples."""
DIED, STALLED = 3, 4
"""Exit codes of a stream that did not finish."""


@dataclass(frozen=True)
class Plan:
    """What one call trains, and on what."""

    ring: RingSource
    tasks: StreamedTasks
    transit: Transit
    runs: list[Run]
    folder: Path
    """Gets checkpoints and resume points until the stream has ended."""


def plan(call: Invocation) -> Plan:
    """Open the stream and return what is to be trained on it, all of the configuration checked.

    Raises
    ------
    UserError
        For any wrong key or value, or if no producer comes.
    """
    from insituml.stream import NoProducerError
    from pipelines.transit.source import open_ring

    data = validate(Data, call.section("data"), "data")
    transit = validate(Transit, call.section("transit"), "transit")
    training = validate(Training, call.section("training"), "training")
    check_device(training.device)
    chosen = call.choices["method"]
    names = list(dict.fromkeys(transit.methods or [chosen]))
    given = [o for o in call.overrides if o.lstrip("+~").startswith("method")]
    if given and chosen not in names:
        raise UserError(
            f"{given[-1]} is for method={chosen}, which is not among transit.methods; add it, or "
            "leave transit.methods out"
        )
    calls = {name: call.with_choice("method", name) for name in names}
    ring = open_ring(data, transit)
    print(f"stream: waiting for {data.path or data.name}", flush=True)
    try:
        description = ring.describe()
        print(f"stream: {data.name}: {_in_words(description)}", flush=True)
        return _plan(calls, data, transit, training, ring)
    except NoProducerError as error:
        raise UserError(f"data={data.name}: {error}") from error
    except BaseException:
        ring.close()
        raise


def _plan(
    calls: dict[str, Invocation],
    data: Data,
    transit: Transit,
    training: Training,
    ring: RingSource,
) -> Plan:
    from pipelines.runs.worker import fingerprint
    from pipelines.transit.loop import RESUME
    from pipelines.transit.streamed_tasks import StreamedTasks

    tasks = StreamedTasks(data, transit, ring.describe())
    runs = []
    for name, call in calls.items():
        first, *others = _runs(call, name, tasks, training, transit)
        try:
            build_once(first)
        except ValueError as error:
            raise UserError(f"method={name}: {error}") from error
        runs += [first, *others]
    folder = PARTIAL / f"stream-{fingerprint({'runs': [run.identity() for run in runs]})}"
    if not (folder / RESUME).exists():  # what was left before there was anything to go on from
        shutil.rmtree(folder, ignore_errors=True)
    tasks.keep_in(folder)
    placed = [
        replace(
            run,
            tasks=folder / "tasks",
            folder=folder / run.method_name / f"seed_{run.seed}",
        )
        for run in runs
    ]
    samples = transit.recent_steps * len(tasks.places) + transit.task_samples
    megabytes = 4e-6 * math.prod(tasks.facts["sample_shape"])
    waiting = tasks.most_waiting
    print(
        f"stream: {len(placed)} runs learn from it; each holds at most {megabytes * samples:.1f} "
        f"MB of recent and sampled fields, and what its method stores; the first {waiting} steps, "
        f"{megabytes * waiting * len(tasks.places):.1f} MB, wait until their mean is known",
        flush=True,
    )
    return Plan(ring, tasks, transit, placed, folder)


def _runs(
    call: Invocation, name: str, tasks: StreamedTasks, training: Training, transit: Transit
) -> list[Run]:
    from pipelines.runs.worker import Run

    facts = {
        "tasks": len(tasks.windows),
        "sample_shape": tasks.facts["sample_shape"],
        "condition_size": 0,
    }
    sections = {key: call.section(key, **facts) for key in ("model", "method", "optimizer")}
    for key, section in sections.items():
        validate_target(section, key)
    # How often each step is trained on is the stream's matter, not a number of epochs.
    how = {k: v for k, v in training.model_dump().items() if k != "epochs"}
    how |= {key: getattr(transit, key) for key in RESULT_KEYS}
    return [
        Run(
            method_name=name,
            seed=seed,
            **sections,
            training=how,
            tasks=Path(),
            data_fingerprint=tasks.fingerprint,
            folder=Path(),
        )
        for seed in training.seeds
    ]


def _in_words(description: Description) -> str:
    numbers = description.iterations
    steps = "steps" if numbers is None else f"{len(numbers)} steps, {numbers[0]} to {numbers[-1]},"
    shape = "×".join(map(str, description.shape))
    return f"{steps} of {shape} float32, {description.unit}"


def learn(plan: Plan, tracker: Tracker) -> tuple[StreamTraining, int]:
    """Train all runs on the stream; return what came of it and the exit code it stands for."""
    import torch

    from insituml.stream import NoProducerError
    from pipelines.transit.loop import StreamTraining

    torch.set_num_threads(plan.runs[0].training["threads"])
    torch.use_deterministic_algorithms(True)
    plan.tasks.write_plan(plan.folder / "tasks")
    try:
        with plan.ring, tracker.training(plan.runs):
            training = StreamTraining(plan.ring, plan.tasks, plan.runs, plan.transit, tracker)
            training.follow()
    except NoProducerError as error:
        raise UserError(str(error)) from error
    print(f"stream: {training.log.summary()}", flush=True)
    return training, exit_code(training.ending)


def exit_code(ending: Ending) -> int:
    """Return what the command says to who called it about how its stream ended."""
    from insituml.stream import ProducerDied, Stalled

    return {ProducerDied: DIED, Stalled: STALLED}.get(type(ending), 0)


def finish(plan: Plan, training: StreamTraining, output: Path) -> list[str]:
    """Copy what was trained to ``output``; return the methods of which all seeds are whole.

    Parameters
    ----------
    plan, training
        After the stream has ended.
    output
        Gets ``data/tasks``, ``runs/`` and ``timings/``.

    Raises
    ------
    UserError
        If there is nothing to evaluate.
    """
    done = training.whole[0]
    if not done.ended_tasks:
        raise UserError(
            f"{training.log.ending} before any task had both a step to train on and one held out: "
            "there is nothing to evaluate",
            exit_code(training.ending) or UserError.code,
        )
    infos = plan.tasks.write(output / "data/tasks", done.ended_tasks, done.trained_samples)
    tasks = [{k: v for k, v in info.items() if k != "normalisation"} for info in infos]
    broken = {run.run.method_name for run in training.runs if run not in training.whole}
    methods = [m for m in dict.fromkeys(run.method_name for run in plan.runs) if m not in broken]
    for method in methods:
        target = output / "runs" / method
        if target.exists():
            shutil.rmtree(target)
        runs = [run for run in plan.runs if run.method_name == method]
        timings = {str(run.seed): timing_of(run.folder / "timings.json") for run in runs}
        for run in runs:
            shutil.copytree(
                run.folder,
                target / run.folder.name,
                ignore=shutil.ignore_patterns("resume", "timings.json", ".*"),
            )
        write_json(target / "stream.json", {**training.log.content(), "tasks": tasks})
        write_json(output / "timings" / f"{method}.json", timings)
    return methods


def evaluate(
    methods: Sequence[str], training: StreamTraining, root: Path, tracker: Tracker
) -> dict[str, Any]:
    """Evaluate the methods and compare all in ``root`` that were trained on the same stream."""
    import os

    from pipelines.evaluate import evaluate_method
    from pipelines.plot import compare
    from pipelines.results.tables import comparable

    summaries = {m: evaluate_method(m, root / "data/tasks", root, tracker) for m in methods}
    numbers = {key: [value] for key, value in training.log.numbers().items()}
    for run in training.whole:
        tracker.evaluated(run.run.identity(), numbers)
    print(compare(comparable(root, methods[0]), root, root, tracker, os.cpu_count() or 1))
    tracker.close()
    return summaries


def main(call: Invocation) -> float | None:
    from pipelines.tracking.mlflow import open_tracker

    tracking = validate(Tracking, call.section("tracking"), "tracking")
    prepared = plan(call)
    tracker = open_tracker(tracking, call.root)
    training, code = learn(prepared, tracker)
    root = call.output / prepared.transit.folder
    methods = finish(prepared, training, root)
    if not methods:
        raise UserError("every method diverged with one of its seeds: there is nothing to compare")
    summaries = evaluate(methods, training, root, tracker)
    if not code:  # else the same command goes on when the producer is back
        shutil.rmtree(prepared.folder)
    learned, planned = len(training.whole[0].ended_tasks), len(prepared.tasks.windows)
    if learned < planned:
        print(
            f"\nstream: all of this is of {learned} of the {planned} tasks; of the others no step "
            "to train on came, or none to hold out"
        )
    print(f"\nstream: tables are in {root.name}/results/, figures in {root.name}/figures/")
    if code:
        print(f"stream: {training.log.ending}; the same command goes on from there", flush=True)
    if training.log.diverged:
        names = ", ".join(training.log.diverged)
        message = f"{names} diverged and dropped out; the other methods are evaluated"
        raise UserError(message, code or UserError.code)
    if code:
        raise SystemExit(code)
    if not call.is_sweep:
        return None
    return summaries[methods[0]]["mean"]["final_average_error"]


if __name__ == "__main__":
    run_stage(main, SECTIONS, "Learn from a running simulation: transit.methods, or one method.")
