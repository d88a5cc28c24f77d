"""One training through insituml; started by ``benchmarks/peers.py``."""

from __future__ import annotations

from time import process_time
from typing import Any

import scipy.optimize  # noqa: F401 (GEM's solver: loaded before the clock runs, as theirs is)
import torch

import insituml.methods
from benchmarks.peers_protocol import Run
from benchmarks.peers_run import Setting, Training, serve, weights_of
from insituml import train
from insituml.data.task import Task
from insituml.methods import Method
from insituml.training import EpochRecord, TaskRecord

MARGIN = 0.5
"""Of GEM's constraints."""


def method_of(setting: Setting, run: Run) -> Method:
    """Build a method by its name in :mod:`insituml.methods`."""
    memory: dict[str, Any] = {"memory_size": setting.memory}
    per_task = {**memory, "total_tasks": len(setting.tasks)}
    replay = {**memory, "replay_size": setting.reference}
    strength = {"strength": run.strength}
    options: dict[str, dict[str, Any]] = {
        "Naive": {},
        "EWC": strength,
        "OnlineEWC": {**strength, "gamma": 1.0},
        "AGEM": {**per_task, "reference_size": setting.reference},
        "GEM": {**per_task, "margin": MARGIN},
        "ExperienceReplay": replay,
        "SynapticIntelligence": strength,
        "LwF": strength,
        "DER": {**replay, "alpha": run.strength},
    }
    cls = getattr(insituml.methods, run.method)
    return cls(**options[run.method], generator=torch.Generator().manual_seed(run.seed + 1))


def train_here(setting: Setting, run: Run) -> Training:
    """Train with :func:`insituml.train`."""
    learner = setting.learner(run.seed)
    method = method_of(setting, run)
    tasks = [Task(k, str(k), (x,), (y,)) for k, (x, y) in enumerate(setting.tasks)]
    steps, weights, epoch_ends = 0, [], []

    def report(record: EpochRecord | TaskRecord) -> None:
        if isinstance(record, EpochRecord):
            epoch_ends.append(process_time())

    trained = train(
        learner,
        method,
        tasks,
        setting.optimizer(learner),
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        generator=torch.Generator().manual_seed(run.seed + 2),
        report=report,
    )
    seconds = step_seconds = 0.0
    for _ in tasks:
        started = process_time()
        steps += next(trained).steps
        seconds += process_time() - started
        step_seconds += epoch_ends[-1] - started
        weights.append(weights_of(learner))
    return Training(weights, steps, seconds, step_seconds)


if __name__ == "__main__":
    serve(train_here)
