"""The bound that no method in transit can reach: keep the whole stream, then train on all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from insituml.data.task import Batch, Task
from insituml.in_transit.dealt import Samples, whole_of
from insituml.training import TaskRecord, train
from insituml_pipelines.common.node import Node
from insituml_pipelines.runs.optimisation import schedule_of
from insituml_pipelines.transit.led import led
from insituml_pipelines.transit.run import TransitRun


class CollectedRun(TransitRun):
    """Keeps every sample in memory and trains, with as many batches as the others, at the end."""

    def make_trainer(self) -> Collector:
        return Collector()

    def write(self, record: TaskRecord, manifest: Node) -> None:
        """Leave it: training comes at the end."""

    def written(self, ended: Sequence[int]) -> int:
        return 0

    def conclude(self, manifest: Node) -> None:
        aside = [self.arrivals.validation_samples(task) for task in self.ended_tasks]
        self.train(manifest, aside)

    @led
    def train(self, manifest: Node, validation: Sequence[Batch]) -> None:
        """Train on all that was kept; ``validation``, of each task, is what to select by."""
        self.state.metadata.manifest = manifest
        windows, settings = self.arrivals.windows, self.run.recipe.training
        tasks = [
            Task(
                number,
                windows.name(task),
                self.trainer.samples(task),
                (),
                validation=validation[number],
            )
            for number, task in enumerate(self.ended_tasks)
        ]
        batch_size, batches = settings["batch_size"], self.transit.batches_per_iteration
        results = train(
            self.state.learner,
            self.state.method,
            tasks,
            self.state.optimizer,
            epochs=max(1, round(batches * batch_size / self.arrivals.cutter.samples_per_iteration)),
            batch_size=batch_size,
            accumulate=settings.get("accumulate", 1),
            max_gradient_norm=settings["max_gradient_norm"],
            schedule=schedule_of(settings),
            average=self.state.average,
            augment=self.augment(),
            mix=self.mix(),
            generator=self.state.order,
            report=self.state.hear,
            progress=self.progress,
        )
        for result in results:
            self.state.after_task(result.task, result, self.state.metadata.steps + result.steps)

    def memory(self) -> dict[str, int]:
        """Return the bytes of data held: there is no bound, and the method stores nothing."""
        arrived = [batch for kept in self.trainer.arrived.values() for batch in kept]
        return {"held": sum(c.nbytes for b in arrived for c in b), "bound": 0, "stored": 0}

    @property
    def bytes_held(self) -> int:
        """Size of the samples kept."""
        return sum(c.nbytes for task in self.ended_tasks for c in self.trainer.samples(task))


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

    def begin_task(
        self, task: int, name: str, first: Samples, *, arrivals: int | None = None
    ) -> None:
        self.task, self.name = task, name

    def learn(self, samples: Samples, simulation: int = 0) -> None:
        assert self.task is not None
        whole = tuple(column.clone() for column in whole_of(samples))
        self.arrived.setdefault(self.task, []).append(whole)

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
