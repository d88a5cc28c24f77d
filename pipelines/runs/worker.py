"""One training run: a method, a seed, from the first task or from the last whole checkpoint."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from insituml.learner import ContinualLearner
    from insituml.methods import Method

INITIAL = "initial.pt"


@dataclass(frozen=True)
class Run:
    """Everything one training run depends on, as plain values that travel between processes.

    Parameters
    ----------
    method_name, seed
        Which run this is.
    model, method, optimizer
        Resolved ``_target_`` nodes.
    training
        Section ``training`` of the configuration.
    tasks
        Folder of the split stream.
    data_fingerprint
        Of that stream.
    folder
        Where its checkpoints go.
    """

    method_name: str
    seed: int
    model: dict[str, Any]
    method: dict[str, Any]
    optimizer: dict[str, Any]
    training: dict[str, Any]
    tasks: Path
    data_fingerprint: str
    folder: Path

    def identity(self) -> dict[str, Any]:
        """Return what the weights depend on; where files lie and who else trains is no part."""
        training = {k: v for k, v in self.training.items() if k not in ("seeds", "workers")}
        return {
            "method_name": self.method_name,
            "seed": self.seed,
            "model": self.model,
            "method": self.method,
            "optimizer": self.optimizer,
            "training": training,
            "data": self.data_fingerprint,
            "code": source_digest(),
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Return the versions that results may depend on."""
    import numpy
    import torch

    import insituml

    return {
        "insituml": insituml.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "machine": platform.machine(),
    }


def source_digest() -> str:
    """Return a SHA-256 of the library's source, plots aside: the version of the code that ran."""
    import insituml

    package = Path(insituml.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        relative = file.relative_to(package)
        if relative.parts[0] != "plots":
            digest.update(relative.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def fingerprint(identity: dict[str, Any]) -> str:
    """Return a short digest of a nested dictionary of plain values."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def checkpoint_path(folder: Path, task: int) -> Path:
    """Return the file of the checkpoint after a task."""
    return folder / f"task_{task}.pt"


def finished_tasks(folder: Path) -> int:
    """Return how many tasks have a checkpoint."""
    done = 0
    while checkpoint_path(folder, done).exists():
        done += 1
    return done


def drop_damaged(folder: Path) -> None:
    """Delete the last checkpoints as long as they are damaged: training goes on before them."""
    from insituml.verified_file import DamagedFileError, read_verified

    while done := finished_tasks(folder):
        file = checkpoint_path(folder, done - 1)
        try:
            read_verified(file)
            return
        except DamagedFileError as error:
            print(f"train: {error} It is dropped, and its task trained again.")
            file.unlink()


def build(
    run: Run,
) -> tuple[ContinualLearner, Method, torch.optim.Optimizer, torch.Generator]:
    """Build learner, method, optimizer and the generator of the order of samples.

    Methods start from the same weights and see the same order of samples: their own random
    choices come from a generator of their own.
    """
    import numpy as np
    import torch
    from hydra.utils import instantiate

    seeds = np.random.SeedSequence(run.seed).generate_state(3).tolist()
    weights, order, choices = (torch.Generator().manual_seed(s) for s in seeds)
    learner = instantiate(run.model, generator=weights, _convert_="all")
    learner.to(run.training["device"])
    method = instantiate(run.method, generator=choices, _convert_="all")
    optimizer = instantiate(run.optimizer, params=learner.parameters(), _convert_="all")
    return learner, method, optimizer, order


def train_run(run: Run, report: Callable[[Any], None]) -> None:
    """Train one seed of a method and leave a checkpoint after each task in ``run.folder``.

    A checkpoint that is already there is where training goes on; the result is the same, bit for
    bit, as without the interruption.

    Parameters
    ----------
    run
        What to train.
    report
        Called with the records of :func:`insituml.training.train`.
    """
    import torch

    from insituml import save_checkpoint, train
    from insituml.checkpoint import resume
    from insituml.training import EpochRecord, TaskRecord
    from pipelines.common.task_files import read_stream

    torch.set_num_threads(run.training["threads"])
    torch.use_deterministic_algorithms(True)
    tasks = read_stream(run.tasks).tasks()
    learner, method, optimizer, order = build(run)
    metadata: dict[str, Any] = {
        **run.identity(),
        "task": -1,
        "task_name": "untrained",
        "steps": 0,
        "loss_history": [],
        "sequential": method.sequential,
        "keeps_all_data": method.keeps_all_data,
        "is_bound": method.is_bound,
        "memory_bytes": 0,
    }

    def save(path: Path) -> None:
        save_checkpoint(
            path,
            learner,
            method=method,
            optimizer=optimizer,
            generator=order,
            metadata=metadata,
        )

    # What a killed run was writing: no part of the result.
    for unfinished in run.folder.glob(".*"):
        unfinished.unlink()
    drop_damaged(run.folder)
    done = finished_tasks(run.folder)
    if done:
        file = checkpoint_path(run.folder, done - 1)
        metadata = resume(file, learner, method=method, optimizer=optimizer, generator=order)
    else:
        save(run.folder / INITIAL)

    def keep(record: EpochRecord | TaskRecord) -> None:
        if isinstance(record, EpochRecord):
            metadata["loss_history"].extend(record.losses)
        report(record)

    results = train(
        learner,
        method,
        tasks,
        optimizer,
        epochs=run.training["epochs"],
        batch_size=run.training["batch_size"],
        max_gradient_norm=run.training["max_gradient_norm"],
        generator=order,
        report=keep,
        finished_tasks=done,
        finished_steps=metadata["steps"],
    )
    for result in results:
        metadata["task"] = result.task
        metadata["task_name"] = result.name
        metadata["steps"] += result.steps
        metadata["memory_bytes"] = method.memory_bytes()
        # Timings first: a checkpoint without its timing would be resumed, and the timing lost.
        add_timing(run.folder / "timings.json", result.task, result)
        save(checkpoint_path(run.folder, result.task))


def add_timing(path: Path, task: int, result: Any) -> None:
    from pipelines.common.task_files import write_json

    timings = json.loads(path.read_text()) if path.exists() else {}
    timings[str(task)] = {"steps": result.steps, "seconds": result.seconds}
    write_json(path, timings)
