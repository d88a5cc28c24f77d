"""Stage 3: train one method on all tasks, with every seed, a checkpoint after each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.launcher import is_follower
from insituml_pipelines.common.log import note, say
from insituml_pipelines.common.output import check_replaceable, clear_place, discard
from insituml_pipelines.common.parts import TEST, asked_part, is_validated, swept_part
from insituml_pipelines.common.ranks import dismissing
from insituml_pipelines.common.schema import Training, validate
from insituml_pipelines.common.task_files import facts_of, read_tasks
from insituml_pipelines.runs.mirroring import augment_files
from insituml_pipelines.runs.mixing import mixing_in_files
from insituml_pipelines.runs.optimisation import amount_of, schedule_of
from insituml_pipelines.runs.planning import PARTIAL, check_device, recipes_of
from insituml_pipelines.runs.sharding import is_to_be_sharded
from insituml_pipelines.runs.together import follow
from insituml_pipelines.runs.worker import settings_of
from insituml_pipelines.sweeps.job import job_of
from insituml_pipelines.sweeps.trial import PrunedError

if TYPE_CHECKING:
    from insituml_pipelines.runs.run import Run
    from insituml_pipelines.tracking.base import Tracker

SECTIONS = ("model", "method", "optimizer", "training", "tracking", "part")
FEW_STEPS = 100
"""Of the optimizer in a task: with fewer, figures show what was not learned, not what was lost."""


def plan(call: Invocation) -> tuple[Training, list[Run]]:
    """Return how to train and the runs a call asks for, all of the configuration checked.

    Raises
    ------
    UserError
        For any wrong key or value.
    """
    from insituml_pipelines.runs.run import Run

    training = validate(Training, call.section("training"), "training")
    check_device(training.device)
    schedule_of(training.model_dump())
    files = read_tasks(call.root / "data/tasks", call.asked_data, parts=("train", "validation"))
    manifest = files.manifest
    augment_files(training.model_dump(), manifest)
    mixing_in_files(training.model_dump(), manifest)
    if not call.asked_data and manifest.name != call.config.name:
        note(
            f"{files.folder} holds {manifest.name}, but experiment={call.config.name} says "
            f"how to train; experiment={manifest.name}, if there is such a one, has its own values",
        )
    recipes = recipes_of(
        call,
        facts_of(len(manifest.tasks), manifest.sample_shape, manifest.condition_size),
        settings_of(training.model_dump()),
        manifest.fingerprint,
        training.seeds,
        tuple(column[:2] for column in files.tasks(("train",))[0].train),
        validated=any(task.validation for task in manifest.tasks),
    )
    method = recipes[0].build()[1]
    if method.learns_by_gradient and not method.converges:
        _warn_of_few_steps(training, [task.train for task in manifest.tasks])
    identity = recipes[0].identity().of_all_seeds()
    partial = PARTIAL / f"{identity.method_name}-{identity.fingerprint}"
    sharded = is_to_be_sharded(training, recipes[0])
    places = [partial / f"seed_{r.seed}" for r in recipes]
    return training, [
        Run(r, files.folder, place, sharded=sharded)
        for r, place in zip(recipes, places, strict=True)
    ]


def _warn_of_few_steps(training: Training, samples: Sequence[int]) -> None:
    """Say so where a task ends before much can be learned, such as one of few large samples."""
    amount = amount_of(training.model_dump())
    steps = [amount.steps(n, amount.epochs) for n in samples]
    if min(steps) < FEW_STEPS:
        task = steps.index(min(steps))
        key = "epochs" if amount.budget is None else "budget"
        spent = f"{amount.epochs} epochs" if amount.budget is None else f"budget {amount.budget}"
        note(
            f"task {task} has {steps[task]} optimizer steps ({samples[task]} samples, "
            f"{spent}, batches of {amount.step_size}); below about {FEW_STEPS} little is learned: "
            f"raise training.{key}, or cut smaller samples by data.split.chunk",
        )


def train_method(
    runs: list[Run],
    workers: int,
    threads: int,
    output: Path,
    tracker: Tracker,
    look: Callable[[Run], None] = lambda run: None,
) -> None:
    """Train the seeds of one method; they come to ``output/runs/<method>`` when all are whole.

    Parameters
    ----------
    runs
        Seeds of one method.
    workers, threads
        See :func:`insituml_pipelines.runs.pool.train_all`.
    output
        Gets ``runs/<method>/seed_<n>/task_<k>.pt`` and ``timings/<method>.json``.
    tracker
        Hears of every loss.
    look
        Called with a run each time that it says something; what it raises ends the training.
    """
    from insituml_pipelines.common.locking import held

    clear_place(runs[0].folder.parent)
    with ExitStack() as stack:
        for run in runs:
            lock = run.folder.with_name(f"{run.folder.name}.lock")
            stack.enter_context(held(lock, f"{run.recipe.name} in {run.folder}"))
            clear_place(run.folder)
        _train_locked(runs, workers, threads, output, tracker, look)
    # Seeds of an earlier, interrupted call may still lie there: their work is kept.
    with suppress(OSError):
        runs[0].folder.parent.rmdir()


def train_unless_there(
    runs: list[Run],
    workers: int,
    threads: int,
    output: Path,
    tracker: Tracker,
    *,
    in_sweep: bool = False,
    look: Callable[[Run], None] = lambda run: None,
) -> None:
    """Train a method; where it was trained in the same way before, it may stay.

    A method that converges stays, and every one in a sweep, which is so gone on with.

    Parameters as of :func:`train_method`.
    """
    from insituml_pipelines.runs.reuse import are_there

    tasks = len(read_tasks(runs[0].tasks).manifest.tasks)
    lasting = in_sweep or runs[0].recipe.build()[1].converges
    if lasting and are_there(runs, tasks, output):
        name = runs[0].recipe.method_name
        say(f"train: {name} was trained on the same data in the same way before: it stays")
        return
    train_method(runs, workers, threads, output, tracker, look)


def _train_locked(
    runs: list[Run],
    workers: int,
    threads: int,
    output: Path,
    tracker: Tracker,
    look: Callable[[Run], None],
) -> None:
    from insituml_pipelines.runs.listener import Listener
    from insituml_pipelines.runs.pool import train_all
    from insituml_pipelines.runs.progress import StepBar
    from insituml_pipelines.runs.publish import publish
    from insituml_pipelines.runs.worker import drop_damaged

    name = runs[0].recipe.method_name
    samples = [task.train for task in read_tasks(runs[0].tasks).manifest.tasks]
    listener = Listener("train", tracker)
    for run in runs:
        drop_damaged(run)
        if finished := run.finished_tasks():
            say(f"train: {run.recipe.name} resumes after {finished} of {len(samples)} tasks")
    steps = StepBar(f"train {name}", runs, samples)

    def listen(run: Run, record: Any) -> None:
        listener(run, record)
        steps.hear(run, record)
        look(run)

    with steps.bar, tracker.training(runs):
        train_all(runs, workers, threads, listen, steps.move)
        for run in runs:
            if (seconds := run.timing()["seconds_per_step"]) is not None:
                tracker.timed(run, seconds)
    publish(runs, output)
    for run in runs:
        discard(run.folder)


def _leave_nothing_empty(folder: Path) -> None:
    with suppress(OSError):  # something is in it
        for path in (folder, folder.parent, folder.parent.parent):
            path.rmdir()


def main(call: Invocation) -> float | None:
    from insituml_pipelines.tracking.opening import open_tracker

    for place in (call.output / "runs" / call.choices["method"], call.output / "timings", PARTIAL):
        check_replaceable(place)
    tracker = open_tracker(call.section("tracking"))
    files = read_tasks(call.root / "data/tasks")
    part = asked_part(call) or TEST
    if call.is_sweep:
        part = swept_part(call, validated=is_validated(files.manifest))
    training, runs = plan(call)
    name = runs[0].recipe.method_name
    if call.sweep is not None:
        tracker.in_sweep(job_of(call.sweep, call.overrides))
    from insituml.training import DivergedError
    from insituml_pipelines.common.workers import WorkerDiedError

    def look(run: Run) -> None:
        if call.trial is not None and run.recipe.seed == runs[0].recipe.seed:
            call.trial.look(run, files, part)

    try:
        train_unless_there(
            runs,
            training.workers,
            training.threads,
            call.output,
            tracker,
            in_sweep=call.is_sweep,
            look=look,
        )
    except PrunedError:  # never gone on with
        for run in runs:
            discard(run.folder)
            _leave_nothing_empty(run.folder)
        raise
    except (DivergedError, ValueError, ImportError) as error:
        raise UserError(f"method={name}: {error}") from error
    except OSError:
        for run in runs:
            _leave_nothing_empty(run.folder)
        raise
    except WorkerDiedError as error:
        raise UserError(f"{error} to go on, or with fewer training.workers") from error
    if not call.is_sweep:
        return None
    # A sweep compares its jobs at once: by the final average error.
    from insituml_pipelines.evaluate import evaluate_method, evaluated_before

    identity, seeds = runs[0].recipe.identity(), [run.recipe.seed for run in runs]
    summary = evaluated_before(name, call.output, part, identity, seeds)
    if summary is None:
        summary = evaluate_method(name, files, call.output, tracker, part)
    final = summary.mean["final_average_error"]
    say(f"final average error ({summary.metric}, {part} part): {final:.4f} in {call.output}")
    return final


def command() -> None:
    """Run from the command line."""
    if is_follower():
        follow()
        return
    with dismissing():
        run_stage(main, SECTIONS, "Train one method, such as method=ewc, on all tasks.")


if __name__ == "__main__":
    command()
