"""Train one run on files, from the first task or from the last whole checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable

from insituml_pipelines.common.log import say
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.output import remove
from insituml_pipelines.runs.checkpoints import RunCheckpoints, RunReport
from insituml_pipelines.runs.run import Run


def train_run(
    run: Run, report: RunReport, progress: Callable[[int], None] = lambda steps: None
) -> None:
    """Train one seed of a method and leave a checkpoint after each task in ``run.folder``.

    A checkpoint that is already there is where training goes on; the result is the same, bit for
    bit, as without the interruption; on several ranks, which are called alike, but for rounding.

    Parameters
    ----------
    run
        What to train.
    report
        Called with ``run`` and the records of :func:`insituml.training.train`.
    progress
        As there.
    """
    from insituml import ranks
    from insituml.training import train
    from insituml_pipelines.common.task_files import read_tasks
    from insituml_pipelines.runs.mirroring import augment_files
    from insituml_pipelines.runs.mixing import mixing_in_files
    from insituml_pipelines.runs.optimisation import schedule_of

    settings = run.recipe.training
    pin(settings["threads"])
    files = read_tasks(run.tasks)
    if ranks.rank() == 0:
        # What a killed run was writing: no part of the result.
        for unfinished in run.folder.glob(".*"):
            remove(unfinished)
        drop_damaged(run)
    state = RunCheckpoints(run, files.manifest.to_plain(), report)
    if ranks.rank() == 0:
        with ranks.alone():
            state.ensure_initial()
    if run.sharded:
        state.shard()
    done = ranks.told(run.finished_tasks())
    if done:
        state.resume(run.checkpoint(done - 1))
    results = train(
        state.learner,
        state.method,
        files.tasks(("train", "validation")),  # nobody trains by what is to be tested
        state.optimizer,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        budget=settings.get("budget"),
        accumulate=settings.get("accumulate", 1),
        max_gradient_norm=settings["max_gradient_norm"],
        schedule=schedule_of(settings),
        average=state.average,
        augment=augment_files(settings, files.manifest),
        mix=mixing_in_files(settings, files.manifest),
        generator=state.order,
        report=state.hear,
        progress=progress,
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
    """Delete checkpoints from the first one on that is damaged or no such one of this run.

    Training goes on before it; what is wrong with it is said.
    """
    from insituml_pipelines.runs.checkpoints import UnusableCheckpointError, check

    whole = 0
    try:
        while os.path.lexists(run.checkpoint(whole)):
            check(run, run.checkpoint(whole), task=whole)
            whole += 1
    except UnusableCheckpointError as error:
        say(f"train: {error}. It is dropped, and its task trained again.")
    kept = {run.checkpoint(task) for task in range(whole)}
    for file in run.folder.glob("task_*"):
        if file not in kept:
            remove(file)


def settings_of(training: Node) -> Node:
    """Return what of section ``training`` weights depend on: not who else trains, and who with."""
    others = ("seeds", "workers", "sharded")
    return {key: value for key, value in training.items() if key not in others}
