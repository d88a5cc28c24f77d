"""One method and seed that learns from a stream, with its checkpoints and resume points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml.checkpoint import resume, save_checkpoint
from insituml.in_transit.trainer import InTransitTrainer
from insituml.in_transit.windows import TaskWindows
from insituml.training import EpochRecord, TaskRecord
from pipelines.common.schema import Transit
from pipelines.runs.worker import INITIAL, Run, add_timing, build, checkpoint_path

if TYPE_CHECKING:
    from insituml.data.task import Batch

TIMINGS = "timings.json"
Report = Callable[[Run, Any], None]


class TransitRun:
    """Learns the steps that the stream brings, and can go on where an earlier process ended.

    Parameters
    ----------
    run
        What is trained, and the folder of its checkpoints.
    windows
        The tasks.
    transit
        Section of the configuration.
    step_samples
        Samples in one step of the stream.
    report
        Called with ``run`` and each record of :class:`InTransitTrainer`.
    """

    def __init__(
        self, run: Run, windows: TaskWindows, transit: Transit, step_samples: int, report: Report
    ) -> None:
        self.run = run
        self.windows = windows
        self.transit = transit
        self.step_samples = step_samples
        self.learner, self.method, self.optimizer, self.order = build(run)
        self._report = report
        self.trainer = self.make_trainer()
        self.metadata: dict[str, Any] = {
            **run.identity(),
            "task": -1,
            "task_name": "untrained",
            "steps": 0,
            "loss_history": [],
            "sequential": self.method.sequential,
            "keeps_all_data": self.method.keeps_all_data,
            "is_bound": self.method.is_bound,
            "memory_bytes": 0,
            "trained_samples": {},
            "ended_tasks": [],
        }

    def make_trainer(self) -> Any:
        """Return what takes in the samples."""
        return InTransitTrainer(
            self.learner,
            self.method,
            self.optimizer,
            now_samples=self.transit.recent_steps * self.step_samples,
            task_samples=self.transit.task_samples,
            batches_per_step=self.transit.batches_per_step,
            batch_size=self.run.training["batch_size"],
            generator=self.order,
            max_gradient_norm=self.run.training["max_gradient_norm"],
            report=self.keep,
        )

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.run.method_name} seed {self.run.seed}"

    @property
    def ended_tasks(self) -> list[int]:
        """Tasks with a checkpoint, which is numbered by its place in this list."""
        return self.metadata["ended_tasks"]

    @property
    def trained_samples(self) -> dict[int, int]:
        """Samples trained on, by task."""
        return self.metadata["trained_samples"]

    def begin(self) -> None:
        """Write the checkpoint of the untrained model."""
        self._save(self.run.folder / INITIAL)

    def learn(self, task: int, batch: Batch) -> None:
        """Train on the samples of one step."""
        if self.trainer.task is None:
            self.trainer.begin_task(task, self.windows.name(task), batch)
        self.trainer.learn(batch)
        self.trained_samples[task] = self.trained_samples.get(task, 0) + len(batch[0])

    def end_task(self, *, evaluable: bool) -> None:
        """End the task in progress; write a checkpoint if there is something to evaluate it on."""
        record = self.trainer.end_task()
        if evaluable:
            self.ended_tasks.append(record.task)
            self.metadata["steps"] = self.trainer.steps
            self.checkpoint(len(self.ended_tasks) - 1, record)

    def conclude(self) -> None:
        """Do what is left when the stream has ended: nothing, for who learned from it."""

    def checkpoint(self, number: int, record: TaskRecord) -> None:
        """Write the checkpoint after a task."""
        self.metadata |= {
            "task": number,
            "task_name": record.name,
            "memory_bytes": self.method.memory_bytes(),
        }
        add_timing(self.run.folder / TIMINGS, number, record)
        self._save(checkpoint_path(self.run.folder, number))

    def save(self, iteration: int) -> None:
        """Write a resume point."""
        self._save(self._resume_point(iteration), transit=self.trainer.state_dict())

    def resume(self, iteration: int) -> None:
        """Go on from a resume point; what came after it is no part of the result."""
        self.metadata = resume(
            self._resume_point(iteration),
            self.learner,
            method=self.method,
            optimizer=self.optimizer,
            generator=self.order,
        )
        self.trainer.load_state_dict(self.metadata.pop("transit"))
        for file in self.run.folder.glob("task_*.pt"):
            if int(file.stem.removeprefix("task_")) >= len(self.ended_tasks):
                file.unlink()

    def forget_others(self, iteration: int | None) -> None:
        """Delete all resume points but that of one iteration."""
        for file in self._resume_point(0).parent.glob("*.pt"):
            if iteration is None or file != self._resume_point(iteration):
                file.unlink()

    def _resume_point(self, iteration: int) -> Path:
        # In a folder of its own, apart from the checkpoints that are results.
        return self.run.folder / "resume" / f"{iteration}.pt"

    def _save(self, path: Path, **more: Any) -> None:
        save_checkpoint(
            path,
            self.learner,
            method=self.method,
            optimizer=self.optimizer,
            generator=self.order,
            metadata={**self.metadata, **more},
        )

    def keep(self, record: EpochRecord | TaskRecord) -> None:
        """Take note of what a trainer reports, and pass it on."""
        if isinstance(record, EpochRecord):
            self.metadata["loss_history"].extend(record.losses)
        self._report(self.run, record)
