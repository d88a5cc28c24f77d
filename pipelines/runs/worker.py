"""Train one run on files, from the first task or from the last whole checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.common.node import Node
from pipelines.runs.checkpoints import RunCheckpoints, RunReport
from pipelines.runs.identity import Identity
from pipelines.runs.metadata import RunMetadata
from pipelines.runs.run import Run


def train_run(run: Run, report: RunReport) -> None:
    """Train one seed of a method and leave a checkpoint after each task in ``run.folder``.

    A checkpoint that is already there is where training goes on; the result is the same, bit for
    bit, as without the interruption.

    Parameters
    ----------
    run
        What to train.
    report
        Called with ``run`` and the records of :func:`insituml.training.train`.
    """
    from insituml.training import train
    from pipelines.common.task_files import read_tasks

    settings = run.recipe.training
    pin(settings["threads"])
    files = read_tasks(run.tasks)
    # What a killed run was writing: no part of the result.
    for unfinished in run.folder.glob(".*"):
        _remove(unfinished)
    drop_damaged(run)
    state = RunCheckpoints(run, files.manifest.to_plain(), report)
    done = run.finished_tasks()
    if done:
        state.resume(run.checkpoint(done - 1))
    else:
        state.save(run.initial)
    results = train(
        state.learner,
        state.method,
        files.tasks(),
        state.optimizer,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        max_gradient_norm=settings["max_gradient_norm"],
        generator=state.order,
        report=state.hear,
        finished_tasks=done,
        finished_steps=state.metadata.steps,
    )
    for result in results:
        state.after_task(result.task, result, state.metadata.steps + result.steps)


def pin(threads: int) -> None:
    """Make the bits of training depend on nothing but the recipe."""
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def drop_damaged(run: Run) -> None:
    """Delete checkpoints from the first one on that is not this run's: training goes on there.

    All of them are results, not the last one alone.
    """
    from insituml.checkpoint_file import read_checkpoint_file

    identity = run.recipe.identity()
    done = run.finished_tasks()
    whole = done
    for task in range(-1, done):
        file = run.checkpoint(task) if task >= 0 else run.initial
        try:
            found = read_checkpoint_file(file).metadata
            RunMetadata.from_plain(found)
            if found["task"] != task or Identity.of_metadata(found) != identity:
                raise ValueError(f"{file} is of another run, or of another task.")
        except FileNotFoundError:
            whole = 0  # of a run that has not begun, there is nothing
        except (ValueError, KeyError, TypeError) as error:
            print(f"train: {error} It is dropped, and its task trained again.")
            whole = min(whole, max(task, 0))
            if task < 0:
                _remove(file)
    for task in range(whole, done):
        _remove(run.checkpoint(task))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def settings_of(training: Node) -> Node:
    """Return what of section ``training`` weights depend on: not who else trains."""
    return {key: value for key, value in training.items() if key not in ("seeds", "workers")}
