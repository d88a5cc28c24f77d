"""One method and seed that learns from a stream, with its checkpoints and resume points."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml import ranks
from insituml.in_transit import Arrivals, InTransitTrainer
from insituml.in_transit.dealt import Samples, count_of, share_of
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.output import remove
from insituml_pipelines.common.schema import Transit
from insituml_pipelines.runs.checkpoints import RunCheckpoints, RunReport, check
from insituml_pipelines.runs.mirroring import augment_of, mirrors_of
from insituml_pipelines.runs.mixing import mixing_of
from insituml_pipelines.runs.optimisation import schedule_of
from insituml_pipelines.runs.run import Run
from insituml_pipelines.transit.led import led

if TYPE_CHECKING:
    from insituml.data.mixing import IterationMixing
    from insituml.data.normalisation import Normalisation
    from insituml.optimisation import Augment
    from insituml.training import Progress, TaskRecord


class TransitRun:
    """Learns the samples that the stream brings, and can go on where an earlier process ended.

    Parameters
    ----------
    run
        What is trained, and the folder of its checkpoints.
    arrivals
        What cuts the stream into samples of tasks.
    transit
        Section of the configuration.
    manifest
        What is known of the data before anything comes.
    report
        Called with ``run`` and each record of :class:`InTransitTrainer`.
    progress
        Told, now and then, how many steps it has taken since.
    """

    def __init__(
        self,
        run: Run,
        arrivals: Arrivals,
        transit: Transit,
        manifest: Node,
        report: RunReport,
        progress: Progress = lambda steps: None,
    ) -> None:
        self.run = run
        self.arrivals = arrivals
        self.transit = transit
        self.progress = progress
        self.state = RunCheckpoints(run, manifest, report)
        self.ended_tasks: list[int] = []
        """Tasks with a checkpoint, which is numbered by its place in this list."""
        self.trained_samples: dict[int, int] = {}
        """Samples trained on, by task."""
        self.sample_bytes = 0
        """Of one sample; 0 while none has come."""
        self.trainer = self.make_trainer()

    def make_trainer(self) -> Any:
        """Return what takes in the samples."""
        settings = self.run.recipe.training
        return self.trainer_kind()(
            self.state.learner,
            self.state.method,
            self.state.optimizer,
            now_samples=self.transit.recent_iterations * self.arrivals.cutter.samples_per_iteration,
            task_samples=self.transit.task_samples,
            batches_per_arrival=self.transit.batches_per_iteration,
            batch_size=settings["batch_size"],
            accumulate=settings.get("accumulate", 1),
            generator=self.state.order,
            max_gradient_norm=settings["max_gradient_norm"],
            schedule=schedule_of(settings),
            average=self.state.average,
            augment=self.augment(),
            mix=self.mix(),
            report=self.state.hear,
            progress=self.progress,
        )

    def trainer_kind(self) -> Callable[..., InTransitTrainer]:
        """Return what makes the trainer."""
        return InTransitTrainer

    def augment(self) -> Augment | None:
        """Return what mirrors batches, as the stream is normalised once it is known how."""
        description = self.arrivals.cutter.description
        mirrors = mirrors_of(self.run.recipe.training, description.components, description.grid)
        return augment_of(mirrors, self._normalisation)

    def mix(self) -> IterationMixing | None:
        """Return what mixes the samples of a batch with others of the same place."""
        cutter = self.arrivals.cutter
        return mixing_of(self.run.recipe.training, cutter.description.grid, cutter.chunk)

    def _normalisation(self) -> Normalisation:
        assert self.arrivals.normalisation is not None  # samples have come
        return self.arrivals.normalisation

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.run.recipe.name

    def begin(self) -> None:
        """Write the checkpoint of the untrained model."""
        with ranks.alone():
            self.state.save(self.run.initial)

    @led
    def learn(self, task: int, batch: Samples, *simulation: int) -> None:
        """Train on the samples of one iteration; of an ensemble, say of which simulation."""
        if self.trainer.task is None:
            windows = self.arrivals.windows
            arrivals = self.expected_arrivals(task)
            self.trainer.begin_task(task, windows.name(task), batch, arrivals=arrivals)
        self.trainer.learn(batch, *simulation)
        own = share_of(batch)
        self.sample_bytes = sum(math.prod(c.shape[1:]) * c.element_size() for c in own)
        self.trained_samples[task] = self.trained_samples.get(task, 0) + count_of(batch)

    def expected_arrivals(self, task: int) -> int:
        """Return how many iterations of a task are to be trained on, as far as that is known."""
        return len(self.arrivals.windows.trained(task))

    @led
    def train_again(self, batches: int) -> None:
        """Train on what is recent once more."""
        self.trainer.train_again(batches)

    @led
    def end_task(self, manifest: Node | None) -> None:
        """End the task in progress and write a checkpoint.

        Parameters
        ----------
        manifest
            Of all tasks so far; None where there is nothing to evaluate this one on.
        """
        record = self.trainer.end_task()
        if manifest is not None:
            self.ended_tasks.append(record.task)
            self.write(record, manifest)

    def write(self, record: TaskRecord, manifest: Node) -> None:
        """Write the checkpoint of the task that has just ended."""
        self.state.metadata.manifest = manifest
        self.state.after_task(len(self.ended_tasks) - 1, record, self.trainer.steps)

    def conclude(self, manifest: Node) -> None:
        """Do what is left when the stream has ended: nothing, for who learned from it."""

    @led
    def save(self, iteration: int) -> None:
        """Write a resume point."""
        self.state.save(
            self._resume_point(iteration),
            iteration=iteration,
            trainer=self.trainer.state_dict(),
            ended_tasks=self.ended_tasks,
            trained_samples=self.trained_samples,
        )

    def memory(self) -> dict[str, int]:
        """Return the bytes of data held, what they are at most, and those the method stores."""
        cutter = self.arrivals.cutter
        now = self.transit.recent_iterations * cutter.samples_per_iteration
        bound = (now + self.transit.task_samples) * self.sample_bytes
        with ranks.alone():  # of several ranks, what this one holds
            held, stored = self.trainer.buffer_bytes, self.state.method.memory_bytes()
        return {"held": held, "bound": bound, "stored": stored}

    def check(self, iteration: int) -> None:
        """Check a resume point and the checkpoints of the tasks that it has behind it.

        Raises
        ------
        UnusableCheckpointError
            Naming what is missing or damaged.
        """
        from insituml.checkpoint_file import read_checkpoint_file

        point = self._resume_point(iteration)
        check(self.run, point, iteration=iteration)
        ended = read_checkpoint_file(point).metadata["ended_tasks"]
        for number in range(self.written(ended)):
            check(self.run, self.run.checkpoint(number), task=number)

    def written(self, ended: Sequence[int]) -> int:
        """Return how many checkpoints there are when these tasks have ended."""
        return len(ended)

    @led
    def resume(self, iteration: int, timings: dict[str, dict[str, float]]) -> None:
        """Go on from a resume point; what came after it is no part of the result."""
        if ranks.rank() == 0:
            with ranks.alone():
                self.state.ensure_initial()
        more = self.state.resume(self._resume_point(iteration))
        self.trainer.load_state_dict(more["trainer"])
        self.ended_tasks, self.trained_samples = more["ended_tasks"], more["trained_samples"]
        if ranks.rank() > 0:
            return
        kept = {self.run.checkpoint(number) for number in range(self.written(self.ended_tasks))}
        for file in self.run.folder.glob("task_*.pt"):
            if file not in kept:
                remove(file)
        self.run.write_timings(timings)

    def forget_others(self, iterations: Collection[int | None]) -> None:
        """Delete all resume points but those of these iterations."""
        kept = {self._resume_point(number) for number in iterations if number is not None}
        for file in self._resume_point(0).parent.glob("*.pt"):
            if file not in kept:
                remove(file)

    def _resume_point(self, iteration: int) -> Path:
        # In a folder of its own, apart from the checkpoints that are results.
        return self.run.folder / "resume" / f"{iteration}.pt"
