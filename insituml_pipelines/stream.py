"""Learn from a running simulation: methods and seeds side by side from one stream.

The results lie below ``transit/``, laid out as those of the file pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.launcher import is_follower
from insituml_pipelines.common.locking import held
from insituml_pipelines.common.log import say
from insituml_pipelines.common.output import clear_place, discard
from insituml_pipelines.common.parts import TEST, asked_part, swept_part
from insituml_pipelines.common.ranks import dismissing
from insituml_pipelines.runs.planning import TASKS
from insituml_pipelines.runs.together import follow
from insituml_pipelines.sweeps.job import job_of
from insituml_pipelines.transit.planning import Plan, plan
from insituml_pipelines.transit.publishing import DIED, LOG, STALLED, exit_code, finish

__all__ = ["DIED", "LOG", "STALLED", "finish", "learn", "main", "plan"]

if TYPE_CHECKING:
    from insituml_pipelines.results.summary import Summary
    from insituml_pipelines.tracking.base import Tracker
    from insituml_pipelines.transit.loop import StreamTraining

SECTIONS = (
    *("data", "model", "method", "optimizer", "training", "transit", "tracking", "pipeline"),
    "part",
)


def learn(plan: Plan, tracker: Tracker) -> tuple[StreamTraining, int]:
    """Train all runs on the stream; return what came of it and the exit code it stands for."""
    from insituml.data.task_files import write_manifest
    from insituml.stream import NoProducerError
    from insituml_pipelines.runs.worker import pin
    from insituml_pipelines.transit.ensemble_loop import training_of
    from insituml_pipelines.transit.live import RUNNING
    from insituml_pipelines.transit.rank_stream import RankStream

    pin(plan.runs[0].recipe.training["threads"])
    if plan.live:
        plan.live.say(RUNNING, "it begins")
    clear_place(plan.folder, TASKS)
    write_manifest(plan.folder / TASKS, plan.manifest([], {}))  # for who looks at it meanwhile
    try:
        with plan.ring, tracker.training(plan.runs), plan.together:
            training = training_of(plan.tasks)(
                plan.ring,
                plan.arrivals,
                plan.runs,
                plan.transit,
                tracker,
                plan.manifest,
                plan.folder,
                plan.live,
            )
            if isinstance(plan.ring, RankStream):
                plan.ring.share(training.runs, plan.manifest([], {}).to_plain())
            training.follow()
    except (NoProducerError, ValueError, ImportError, MemoryError) as error:
        raise UserError(str(error)) from error
    say(f"stream: {training.log.summary()}")
    return training, exit_code(training.ending)


def evaluate(
    methods: Sequence[str], training: StreamTraining, root: Path, tracker: Tracker
) -> dict[str, Summary]:
    """Evaluate the methods and compare all in ``root`` that were trained on the same stream."""
    import os

    from insituml_pipelines.common.task_files import read_tasks
    from insituml_pipelines.evaluate import evaluate_method
    from insituml_pipelines.plot import compare
    from insituml_pipelines.results.tables import comparable

    files = read_tasks(root / "data/tasks")
    summaries = {m: evaluate_method(m, files, root, tracker) for m in methods}
    numbers = {key: [value] for key, value in training.log.numbers().items()}
    for run in training.whole:
        tracker.evaluated(run.run.recipe.identity(), numbers)
        if (seconds := run.run.timing()["seconds_per_step"]) is not None:
            tracker.timed(run.run, seconds)
    say(compare(comparable(root, methods[0]), root, root, tracker, os.cpu_count() or 1))
    tracker.close()
    return summaries


def main(call: Invocation) -> float | None:
    from insituml_pipelines.tracking.opening import open_tracker
    from insituml_pipelines.transit.folder import stream_folder
    from insituml_pipelines.transit.live import ENDED

    tracker = open_tracker(call.section("tracking"))
    if call.sweep is not None:
        tracker.in_sweep(job_of(call.sweep, call.overrides))
    prepared = plan(call)
    live = prepared.live
    with (
        live.told_why_it_breaks_off() if live else nullcontext(),
        prepared.ring,
        prepared.together,
        held(prepared.folder.with_suffix(".lock"), f"{prepared.folder}"),
    ):
        validated = bool(prepared.tasks.windows.validation)
        part = swept_part(call, validated=validated) if call.is_sweep else asked_part(call) or TEST
        root = stream_folder(call.output, prepared.transit.folder)
        training, code = learn(prepared, tracker)
        methods = finish(prepared, training, root)
        if not methods:
            raise UserError(
                "every method diverged with one of its seeds: there is nothing to compare"
            )
        summaries = evaluate(methods, training, root, tracker)
        if not code:  # else the same command goes on when the producer is back
            discard(prepared.folder)
        if live:
            live.say(ENDED, training.log.ending)
    learned, planned = len(training.whole[0].ended_tasks), len(prepared.tasks.windows)
    if learned < planned:
        say(
            f"\nstream: all of this is of {learned} of the {planned} tasks; of the others nothing "
            "to train on came, or nothing to hold out"
        )
    say(f"\nstream: tables are in {root.name}/results/, figures in {root.name}/figures/")
    if code:
        say(f"stream: {training.log.ending}; the same command goes on from there")
    if training.log.diverged:
        names = ", ".join(training.log.diverged)
        message = f"{names} diverged and dropped out; the other methods are evaluated"
        raise UserError(message, code or UserError.code)
    if code:
        raise SystemExit(code)
    if not call.is_sweep:
        return None
    if part == TEST:
        return summaries[methods[0]].mean["final_average_error"]
    from insituml_pipelines.common.task_files import read_tasks
    from insituml_pipelines.evaluate import evaluate_method
    from insituml_pipelines.tracking.base import Tracker

    files = read_tasks(root / "data/tasks")
    return evaluate_method(methods[0], files, root, Tracker(), part).mean["final_average_error"]


def command() -> None:
    """Run from the command line."""
    if is_follower():
        follow()
        return
    with dismissing():
        run_stage(
            main, SECTIONS, "Learn from a running simulation: transit.methods, or one method."
        )


if __name__ == "__main__":
    command()
