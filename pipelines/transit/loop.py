"""The loop over a stream's events: every method and seed learns from each step, in turn."""

from __future__ import annotations

import json
from typing import Any

from tqdm import tqdm

from insituml.data.step import Step
from insituml.stream import Ending, Finished, Gap, Rejected, with_gaps
from insituml.training import DivergedError, EpochRecord, TaskRecord
from pipelines.common.errors import UserError
from pipelines.common.schema import Transit
from pipelines.common.task_files import write_json
from pipelines.runs.worker import Run
from pipelines.tracking.base import Tracker
from pipelines.transit.collected_run import open_run
from pipelines.transit.log import StreamLog, read_log, say
from pipelines.transit.run import TransitRun
from pipelines.transit.streamed_tasks import Samples, StreamedTasks

RESUME = "resume.json"


class StreamTraining:
    """Follows one stream to its end.

    Parameters
    ----------
    ring
        The stream.
    tasks
        Where its steps belong.
    runs
        What is trained on it.
    transit
        Section of the configuration.
    tracker
        Hears of every loss.
    """

    def __init__(
        self, ring: Any, tasks: StreamedTasks, runs: list[Run], transit: Transit, tracker: Tracker
    ) -> None:
        self.ring = ring
        self.tasks = tasks
        self.transit = transit
        self.tracker = tracker
        self.log = StreamLog()
        samples = len(tasks.places)
        self.runs = [open_run(run, tasks.windows, transit, samples, self._hear) for run in runs]
        self.seen: int | None = None
        """Last iteration that the runs have behind them."""
        self.ending: Ending = Finished()
        """How the stream ended, once :meth:`follow` has returned."""
        self._bar = tqdm(total=len(tasks.iterations), unit="step", desc="stream", disable=None)
        self._loss = float("nan")

    @property
    def whole(self) -> list[TransitRun]:
        """The runs that have not diverged."""
        return [run for run in self.runs if run.name not in self.log.diverged]

    def follow(self) -> None:
        """Learn until the stream ends or the last task is over.

        Raises
        ------
        UserError
            If every run diverges, or a step is bad and ``on_bad_step`` is ``fail``.
        """
        self._begin()
        first, last = self.tasks.windows.first[0], self.tasks.windows.last[-1]
        events = with_gaps(self.ring.events(self.seen), self.tasks.iterations, self.seen)
        for event in self.log.timed(events):
            if isinstance(event, Step | Rejected) and not first <= event.iteration <= last:
                self.log.outside += 1
                if event.iteration > last:
                    self.log.ending = "all tasks are learned, the producer goes on"
                    break
                continue
            if isinstance(event, Rejected) and self.transit.on_bad_step == "fail":
                self._save()  # up to the step before: the same command comes to this one again
                raise UserError(
                    f"iteration {event.iteration} cannot be learned from: {event.reason}; "
                    "transit.on_bad_step=skip leaves such steps out"
                )
            self.log.note(event)
            if isinstance(event, Ending):
                self.ending = event
            elif isinstance(event, Step):
                self._step(event)
            elif isinstance(event, Rejected):
                self._passed(event.iteration)
            elif isinstance(event, Gap):
                self.log.lost += self.tasks.count_between(event.first, event.last)
                self._passed(event.last)
        self.ring.close()  # who goes on producing does it for nobody
        self._end()

    def _begin(self) -> None:
        file = self.tasks.folder / RESUME
        if not file.exists():
            for run in self.runs:
                run.begin()
            return
        content = json.loads(file.read_text())
        self.seen = content["iteration"]
        self.log = read_log(content["log"])
        self.log.resumed_after.append(content["iteration"])
        for run in self.runs:
            if run.name in self.log.diverged:
                self.tracker.broke_off(run.run)
            else:
                run.resume(content["iteration"])
        self._bar.update(self.tasks.count_through(content["iteration"]))
        say(f"goes on after iteration {self.seen}; to begin anew, delete {self.tasks.folder}")

    def _step(self, step: Step) -> None:
        self.log.steps += 1
        for samples in self.tasks.take(step):
            self._learn(samples)
        self._passed(step.iteration)
        if self.log.steps % self.transit.checkpoint_every == 0:
            self._save()

    def _learn(self, samples: Samples) -> None:
        if samples.batch is None:
            return
        for run in self.whole:
            if run.trainer.task not in (None, samples.task):
                self._end_task(run)
            self._guarded(run, run.learn, samples.task, samples.batch)
        extra = (self.transit.max_batches_per_step or 0) - self.transit.batches_per_step
        while extra > 0 and not self.ring.ready():
            for run in self.whole:
                self._guarded(run, run.trainer.train_again, 1)
            extra -= 1

    def _guarded(self, run: TransitRun, function: Any, *arguments: Any) -> None:
        """Let a run that diverges drop out, and the others go on."""
        try:
            function(*arguments)
        except DivergedError as error:
            self.log.diverged[run.name] = str(error)
            self.tracker.broke_off(run.run)
            say(f"{run.name} drops out: {error}")
            if not self.whole:
                raise UserError(f"nothing is left to train; {run.name}: {error}") from error

    def _end_task(self, run: TransitRun) -> None:
        task = run.trainer.task
        assert task is not None
        evaluable = bool(self.tasks.held_out.iterations(task))
        if not evaluable:
            say(f"{run.name}: {self.tasks.windows.name(task)} had no held-out step: not evaluated")
        run.end_task(evaluable=evaluable)

    def _passed(self, iteration: int) -> None:
        self.seen = iteration
        self._bar.update(self.tasks.count_through(iteration) - self._bar.n)
        self._bar.set_postfix_str(f"loss {self._loss:.4f}, waiting {self.log.wait_share:.0%}")

    def _save(self) -> None:
        """Write a resume point of all runs: what names it is written last."""
        if self.seen is None or self.tasks.pending:
            return
        for run in self.whole:
            run.save(self.seen)
        write_json(self.tasks.folder / RESUME, {"iteration": self.seen, "log": self.log.content()})
        for run in self.runs:
            run.forget_others(self.seen)

    def _end(self) -> None:
        for samples in self.tasks.rest():
            self._learn(samples)
        self._bar.close()
        if not isinstance(self.ending, Finished):
            self._save()
            for run in self.whole:
                self.tracker.broke_off(run.run)
            if batches := self.transit.batches_after_death:
                say(f"{self.log.ending}; goes on from memory for {batches} batches")
                for run in self.whole:
                    if run.trainer.task is not None:
                        self._guarded(run, run.trainer.train_again, batches)
        for run in self.whole:
            if run.trainer.task is not None:
                self._end_task(run)
            self._guarded(run, run.conclude)

    def _hear(self, run: Run, record: EpochRecord | TaskRecord) -> None:
        if isinstance(record, EpochRecord):
            self.tracker.losses(run, record.first_step, record.losses)
            self._loss = record.losses[-1]
        else:
            milliseconds = 1e3 * record.seconds / max(1, record.steps)
            say(
                f"{run.method_name} seed {run.seed} task {record.task} ({record.name}): "
                f"loss {record.loss:.4f}, {record.steps} batches, {milliseconds:.1f} ms each"
            )
