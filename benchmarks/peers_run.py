"""What both sides of the comparison share: stream, model, optimizer, clock, memory, errors.

Imports torch and insituml alone, so that it runs in either environment.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import insituml.models
from benchmarks.peers_protocol import Outcome, Run
from insituml.data.task import Task
from insituml.evaluation import loss_matrix
from insituml.learner import ContinualLearner


@dataclass(frozen=True)
class Setting:
    """What is trained on and how; equal for both sides.

    Parameters
    ----------
    tasks
        Pairs ``(train, test)`` of inputs ``(n, ...)``.
    model, model_arguments
        Class in :mod:`insituml.models` and what builds it.
    epochs, batch_size, lr
        Of Adam's training on each task.
    memory
        Samples a method may keep, over all tasks.
    reference
        Samples replayed, or compared with, at each step.
    """

    tasks: list[tuple[Tensor, Tensor]]
    model: str
    model_arguments: dict[str, Any]
    epochs: int
    batch_size: int
    lr: float
    memory: int
    reference: int

    @classmethod
    def load(cls, path: Path | str) -> Setting:
        """Read what :meth:`save` wrote."""
        return cls(**torch.load(path, weights_only=True))

    def save(self, path: Path | str) -> None:
        """Write a file that either environment reads."""
        torch.save({name: getattr(self, name) for name in self.__dataclass_fields__}, path)

    def learner(self, seed: int) -> ContinualLearner:
        """Return a new model; the same seed gives the same weights on both sides."""
        model = getattr(insituml.models, self.model)
        return model(**self.model_arguments, generator=torch.Generator().manual_seed(seed))

    def optimizer(self, learner: ContinualLearner) -> torch.optim.Optimizer:
        """Return the optimizer, kept over all tasks."""
        return torch.optim.Adam(learner.parameters(), lr=self.lr)

    def short(self) -> Setting:
        """Return the first batches of two tasks: enough to load all that a training needs."""
        few = 2 * self.batch_size
        return replace(self, tasks=[(x[:few], y[:few]) for x, y in self.tasks[:2]], epochs=1)


@dataclass(frozen=True)
class Training:
    """What a training leaves behind: the weights after each task, and what it took.

    Seconds are of the processor: with one thread they are those on the clock of an idle machine,
    and others' work does not count. ``step_seconds`` leave out the work between tasks. ``note`` is
    asked once time and memory are measured.
    """

    weights: list[dict[str, Tensor]]
    steps: int
    seconds: float
    step_seconds: float
    note: Callable[[], str] = str


Trainer = Callable[[Setting, Run], Training]


def serve(train: Trainer) -> None:
    """Do the runs that a file lists, in this process: ``SETTING RUNS OUTCOMES``."""
    torch.set_num_threads(1)
    setting_file, runs_file, outcomes_file = map(Path, sys.argv[1:])
    setting = Setting.load(setting_file)
    runs = [Run(**run) for run in json.loads(runs_file.read_text())]
    outcomes = [asdict(outcome_of(train, setting, run)) for run in runs]
    outcomes_file.write_text(json.dumps(outcomes))


def outcome_of(train: Trainer, setting: Setting, run: Run) -> Outcome:
    """Train after a short warm-up that is not measured, then evaluate."""
    try:
        train(setting.short(), run)
        before = _reset_peak_mb()
        training = train(setting, run)
    except Exception as error:  # a method that cannot train is a result, with its reason
        reason = str(error).splitlines()[0] if str(error) else ""
        return Outcome(fails=f"{type(error).__name__}: {reason}")
    peak = _status_mb("VmHWM")
    return Outcome(
        seconds_a_step=training.seconds / training.steps,
        step_seconds=training.step_seconds / training.steps,
        matrix=_errors(setting, training.weights),
        peak_mb=peak,
        growth_mb=peak - before,
        note=training.note(),
    )


def _errors(setting: Setting, weights: list[dict[str, Tensor]]) -> list[list[float]]:
    learners = []
    for state in weights:
        learner = setting.learner(seed=0)
        learner.load_state_dict(state)
        learners.append(learner)
    tasks = [Task(k, str(k), (x,), (y,)) for k, (x, y) in enumerate(setting.tasks)]
    return loss_matrix(learners, tasks)["mse"].tolist()


def weights_of(learner: ContinualLearner) -> dict[str, Tensor]:
    """Copy the weights."""
    return {name: value.detach().clone() for name, value in learner.state_dict().items()}


def _reset_peak_mb() -> float:
    """Set the kernel's peak of this process to what it holds now, in MB; NaN outside Linux."""
    gc.collect()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    # Not getrusage: its peak starts from that of the process which started this one.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields[name].split()[0]) / 1024 if name in fields else float("nan")
