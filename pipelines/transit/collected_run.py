"""The bound that no method in transit can reach: keep the whole stream, then train on all of it."""

from __future__ import annotations

from typing import Any

import torch

from insituml.data.task import Batch, Task
from insituml.in_transit.windows import TaskWindows
from insituml.training import TaskRecord, train
from pipelines.common.schema import Transit
from pipelines.runs.worker import Run, build
from pipelines.transit.log import say
from pipelines.transit.run import Report, TransitRun


def open_run(
    run: Run, windows: TaskWindows, transit: Transit, step_samples: int, report: Report
) -> TransitRun:
    """Return what trains ``run``: as the stream goes by, if its method can, else at the end."""
    _, method, _, _ = build(run)
    kind = TransitRun if method.learns_in_transit else CollectedRun
    return kind(run, windows, transit, step_samples, report)


class CollectedRun(TransitRun):
    """Keeps every sample in memory and trains, with as many batches as the others, at the end."""

    def make_trainer(self) -> Collector:
        return Collector()

    def end_task(self, *, evaluable: bool) -> None:
        record = self.trainer.end_task()
        if evaluable:
            self.ended_tasks.append(record.task)

    def conclude(self) -> None:
        tasks = [
            Task(number, self.windows.name(task), self.trainer.samples(task), ())
            for number, task in enumerate(self.ended_tasks)
        ]
        held = sum(column.nbytes for task in tasks for column in task.train)
        say(f"{self.name} trains on the whole stream, {held / 1e6:.1f} MB kept in memory: a bound")
        batch_size, batches = self.run.training["batch_size"], self.transit.batches_per_step
        results = train(
            self.learner,
            self.method,
            tasks,
            self.optimizer,
            epochs=max(1, round(batches * batch_size / self.step_samples)),
            batch_size=batch_size,
            max_gradient_norm=self.run.training["max_gradient_norm"],
            generator=self.order,
            report=self.keep,
        )
        for result in results:
            self.metadata["steps"] += result.steps
            self.checkpoint(result.task, result)


class Collector:
    """Takes in samples as :class:`InTransitTrainer` does, and does nothing else with them."""

    def __init__(self) -> None:
        self.task: int | None = None
        self.name = ""
        self.arrived: dict[int, list[Batch]] = {}

    def samples(self, task: int) -> Batch:
        """Return all samples of a task, in the order in which they came."""
        columns = zip(*self.arrived[task], strict=True)
        return tuple(torch.cat(column) for column in columns)

    def begin_task(self, task: int, name: str, first: Batch) -> None:
        self.task, self.name = task, name

    def learn(self, samples: Batch) -> None:
        assert self.task is not None
        self.arrived.setdefault(self.task, []).append(tuple(column.clone() for column in samples))

    def train_again(self, batches: int) -> None:
        """Leave it: training comes at the end."""

    def end_task(self) -> TaskRecord:
        assert self.task is not None
        record = TaskRecord(self.task, self.name, 0, float("nan"), 0.0)
        self.task = None
        return record

    def state_dict(self) -> dict[str, Any]:
        return {"task": self.task, "name": self.name, "arrived": self.arrived}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.task, self.name = state["task"], state["name"]
        self.arrived = {task: [tuple(b) for b in kept] for task, kept in state["arrived"].items()}
