"""An experiment's fields, and learners trained on it by the pipeline's own commands."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.rate_codecs import Fields
from insituml.checkpoint import load_checkpoint
from insituml.data.task_files import TaskFiles
from insituml.learner import ContinualLearner

REPOSITORY = Path(__file__).parents[1]
SIZE_KEYS = {"convolutional": "latent_channels"}
"""What a model calls the numbers of its latent, where it is not ``latent_size``."""
SCHEDULE = ("training.schedule=decay", "training.decay_share=0.3", "training.warmup_steps=100")


class RatesError(RuntimeError):
    """The comparison cannot be made; the message is one line."""


@dataclass(frozen=True)
class Experiment:
    """Data and trained learners in one folder; what is there is not made again.

    Parameters
    ----------
    name
        File in conf/experiment.
    folder
        Gets ``data/`` and ``trained/``.
    path
        Of outside data, where they are elsewhere than conf/ says.
    """

    name: str
    folder: Path
    path: Path | None = None

    def prepare(self) -> None:
        """Generate and split the data. No part is set aside to select by: nothing is selected."""
        self.folder.mkdir(parents=True, exist_ok=True)
        given = [] if self.path is None else [f"data.path={self.path.resolve()}"]
        if not (self.folder / "data/raw").exists():
            self._run("generate", *given)
        if not (self.folder / "data/tasks").exists():
            self._run("split", *given, "data.split.validation=null")

    def fields(self, judged: int | None = None) -> Fields:
        """Return all fields of the stream, and which are held out: at most ``judged``, evenly."""
        from insituml_pipelines.data.stored import read_saved, stored_source

        raw = self.folder / "data/raw"
        saved = read_saved(raw)
        reader = dict(saved.reader or {})
        if saved.digest is None:
            reader["path"] = str(raw / str(reader["path"]))
        source = stored_source(reader, {}, raw / "source.json")
        tasks = TaskFiles.open(self.folder / "data/tasks").manifest.tasks
        held_out = {number for task in tasks for number in task.held_out}
        places = [k for k, n in enumerate(source.iteration_numbers) if n in held_out]
        if judged is not None and judged < len(places):
            places = [places[(2 * k + 1) * len(places) // (2 * judged)] for k in range(judged)]
        volumes = np.stack([step.values for step in source])
        return Fields(volumes, np.array(places), tasks[0].normalisation.std)

    def trained(
        self, model: str, size: int, epochs: int, overrides: Sequence[str]
    ) -> ContinualLearner:
        """Return a model of this latent size, trained on all tasks at once."""
        key = SIZE_KEYS.get(model, "latent_size")
        setting = [f"model={model}", f"model.{key}={size}", f"training.epochs={epochs}"]
        setting += [*SCHEDULE, *overrides]
        digest = hashlib.sha256(" ".join(setting).encode()).hexdigest()[:8]
        place = self.folder.resolve() / "trained" / f"{model}_{size}_{digest}"
        runs = place / "runs/joint/seed_0"
        if not runs.exists():
            options = ["method=joint", "training.seeds=[0]", "training.workers=0", "tracking=none"]
            options.append("part=test")  # a sweep evaluates its one job; nothing is chosen by it
            sweep = [f"hydra.sweep.dir={place.parent}", f"hydra.sweep.subdir={place.name}"]
            self._run("train", "-m", *options, *setting, *sweep)
        last = len(TaskFiles.open(self.folder / "data/tasks").manifest.tasks) - 1
        return load_checkpoint(runs / f"task_{last}.pt")

    def components(self, size: int) -> ContinualLearner:
        """Return the principal components of the training samples, seen once, in order."""
        import torch

        from insituml.models import PrincipalComponents

        files = TaskFiles.open(self.folder / "data/tasks")
        learner = PrincipalComponents(files.manifest.sample_shape, size)
        for task in files.tasks():
            for samples in task.train[0].split(16):
                learner.observe((samples,))
        with torch.no_grad():  # not turned: the axes of an archive need not follow earlier ones
            learner.basis.copy_(learner.singular_basis[: len(learner.basis)])
        learner.metadata = {
            "manifest": files.manifest.to_plain(),
            "task": len(files.manifest.tasks) - 1,
        }
        return learner

    def _run(self, stage: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"insituml_pipelines.{stage}", *arguments]
        command.append(f"experiment={self.name}")
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        print(f"{self.name}: {' '.join(command[2:])}", flush=True)
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr.strip() or "no message").splitlines()[-1]
            raise RatesError(f"{self.name}: {stage} failed: {said.removeprefix('error: ')}")
