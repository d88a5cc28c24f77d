"""Stage 3: train one method on all tasks, with every seed, a checkpoint after each task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.common.cli import Invocation, run_stage
from pipelines.common.errors import UserError
from pipelines.common.schema import Training, validate, validate_target
from pipelines.common.task_files import read_stream, write_json

if TYPE_CHECKING:
    from pipelines.runs.worker import Run
    from pipelines.tracking.base import Tracker

SECTIONS = ("model", "method", "optimizer", "training", "tracking")
PARTIAL = Path(".partial")


def plan(call: Invocation) -> list[Run]:
    """Return the runs a call asks for, all of the configuration checked.

    Raises
    ------
    UserError
        For any wrong key or value.
    """
    from pipelines.runs.worker import Run, fingerprint

    training = validate(Training, call.section("training"), "training")
    check_device(training.device)
    stream = read_stream(call.root / "data/tasks")
    sections = {
        name: call.section(name, **stream.facts()) for name in ("model", "method", "optimizer")
    }
    for name in ("model", "method", "optimizer"):
        validate_target(sections[name], name)
    name = call.choices["method"]

    def run(seed: int, folder: Path) -> Run:
        return Run(
            method_name=name,
            seed=seed,
            **sections,
            training=training.model_dump(),
            tasks=stream.folder,
            data_fingerprint=stream.fingerprint,
            folder=folder,
        )

    build_once(run(training.seeds[0], Path()))
    identity = {**run(0, Path()).identity(), "seed": None}
    partial = PARTIAL / f"{name}-{fingerprint(identity)}"
    return [run(seed, partial / f"seed_{seed}") for seed in training.seeds]


def build_once(run: Run) -> None:
    """Build everything once before the workers start, so that a wrong value shows at once."""
    from hydra.errors import InstantiationException

    from pipelines.runs.worker import build

    try:
        build(run)
    except InstantiationException as error:
        raise UserError(f"{error.__cause__ or error}") from error


def train_method(
    runs: list[Run], workers: int, threads: int, output: Path, tracker: Tracker
) -> None:
    """Train the seeds of one method and move them to ``output/runs/<method>`` when all are whole.

    Parameters
    ----------
    runs
        Seeds of one method.
    workers, threads
        See :func:`pipelines.runs.pool.train_all`.
    output
        Gets ``runs/<method>/seed_<n>/task_<k>.pt`` and ``timings/<method>.json``.
    tracker
        Hears of every loss.
    """
    from tqdm import tqdm

    from insituml.training import EpochRecord, TaskRecord
    from pipelines.runs.pool import train_all
    from pipelines.runs.worker import finished_tasks

    name = runs[0].method_name
    tasks = len(read_stream(runs[0].tasks).task_names)
    for run in runs:
        if done := finished_tasks(run.folder):
            print(f"train {name} seed {run.seed}: resumes after {done} of {tasks} tasks")
    with tqdm(total=len(runs) * tasks, desc=f"train {name}", unit="task", disable=None) as bar:
        bar.update(sum(finished_tasks(run.folder) for run in runs))

        def listen(run: Run, record: Any) -> None:
            if isinstance(record, EpochRecord):
                tracker.losses(run, record.first_step, record.losses)
                bar.set_postfix_str(f"seed {run.seed} task {record.task} epoch {record.epoch + 1}")
            elif isinstance(record, TaskRecord):
                bar.update()
                milliseconds = 1e3 * record.seconds / max(1, record.steps)
                tqdm.write(
                    f"train {name} seed {run.seed} task {record.task} ({record.name}): "
                    f"loss {record.loss:.4f}, {record.steps} steps, {milliseconds:.1f} ms each"
                )

        with tracker.training(runs):
            train_all(runs, workers, threads, listen)
            timings = {str(run.seed): timing_of(run.folder / "timings.json") for run in runs}
            for run in runs:
                tracker.timed(run, timings[str(run.seed)]["seconds_per_step"])

    write_json(output / "timings" / f"{name}.json", timings)
    target = output / "runs" / name
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for run in runs:
        shutil.move(run.folder, target / f"seed_{run.seed}")
        (target / f"seed_{run.seed}" / "timings.json").unlink()
    # Seeds of an earlier, interrupted call may still lie there: their work is kept.
    if not any(runs[0].folder.parent.iterdir()):
        runs[0].folder.parent.rmdir()


def timing_of(path: Path) -> dict[str, Any]:
    tasks = json.loads(path.read_text()).values()
    seconds, steps = sum(t["seconds"] for t in tasks), sum(t["steps"] for t in tasks)
    return {"seconds": seconds, "steps": steps, "seconds_per_step": seconds / steps}


def check_device(device: str) -> None:
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"training.device is {device!r}, which does not work here ({reason}); "
            "use training.device=cpu"
        ) from error


def main(call: Invocation) -> float | None:
    from pipelines.tracking.opening import open_tracker

    tracker = open_tracker(call.section("tracking"))
    runs = plan(call)
    training = runs[0].training
    from concurrent.futures.process import BrokenProcessPool

    from insituml.training import DivergedError

    try:
        train_method(runs, training["workers"], training["threads"], call.output, tracker)
    except (DivergedError, ValueError) as error:
        raise UserError(f"method={runs[0].method_name}: {error}") from error
    except BrokenProcessPool as error:
        raise UserError(
            "a worker was killed, perhaps for want of memory; run the same command again to go "
            "on, or with fewer training.workers"
        ) from error
    if not call.is_sweep:
        return None
    # A sweep compares its jobs at once: by the final average error.
    from pipelines.evaluate import evaluate_method

    summary = evaluate_method(runs[0].method_name, call.root / "data/tasks", call.output, tracker)
    error = summary.mean["final_average_error"]
    print(f"final average error ({summary.metric}): {error:.4f} in {call.output}")
    return error


if __name__ == "__main__":
    run_stage(main, SECTIONS, "Train one method, such as method=ewc, on all tasks.")
