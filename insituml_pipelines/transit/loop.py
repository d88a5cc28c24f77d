"""The loop over a stream's events: every method and seed learns from each iteration, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from insituml.data.manifest import Manifest
from insituml.data.step import Step
from insituml.in_transit import Arrival, Arrivals, StreamLog
from insituml.stream import Ending, Finished, Gap, Rejected, with_gaps
from insituml.training import DivergedError
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.schema import Transit
from insituml_pipelines.runs.listener import Listener
from insituml_pipelines.runs.progress import StreamBar
from insituml_pipelines.runs.run import Run
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.transit.collected_run import CollectedRun
from insituml_pipelines.transit.live import NEWEST, RUNNING, LiveFile
from insituml_pipelines.transit.rank_stream import RankStream, left
from insituml_pipelines.transit.resume_points import ResumePoints
from insituml_pipelines.transit.run import TransitRun

ManifestOf = Callable[[Sequence[int], dict[int, int]], Manifest]
"""``manifest_of(tasks, trained samples by task)``: what the samples of these tasks mean."""


class StreamTraining:
    """Follows one stream to its end.

    Parameters
    ----------
    ring
        The stream.
    arrivals
        Where its iterations belong.
    runs
        What is trained on it.
    transit
        Section of the configuration.
    tracker
        Hears of every loss.
    manifest_of
        Describes the tasks that were learned.
    folder
        Gets the resume points.
    live
        Hears how it goes; None: nobody watches.
    """

    def __init__(
        self,
        ring: Any,
        arrivals: Arrivals,
        runs: list[Run],
        transit: Transit,
        tracker: Tracker,
        manifest_of: ManifestOf,
        folder: Path,
        live: LiveFile | None = None,
    ) -> None:
        self.ring = ring
        self.live = live
        self.arrivals = arrivals
        self.arriving = ring if isinstance(ring, RankStream) else arrivals
        """What steps are given to."""
        self.windows = arrivals.windows
        self.transit = transit
        self.tracker = tracker
        self.manifest_of = manifest_of
        self.folder = folder
        self.log = StreamLog()
        self.listener = Listener("stream", tracker)
        self.shown = StreamBar(len(self.windows.iterations))
        self.runs = [self._open(run) for run in runs]
        self.points = ResumePoints(folder, self.runs)
        self.seen: int | None = None
        """Last iteration that the runs have behind them."""
        self.ending: Ending = Finished()
        """How the stream ended, once :meth:`follow` has returned."""
        self._manifests: dict[tuple[int, ...], Node] = {}

    def _open(self, run: Run) -> TransitRun:
        method = run.recipe.build()[1]
        kind = TransitRun if method.learns_in_transit else CollectedRun
        untrained = self.manifest_of([], {}).to_plain()
        return kind(run, self.arrivals, self.transit, untrained, self.listener, self.shown.move)

    @property
    def whole(self) -> list[TransitRun]:
        """The runs that have not diverged."""
        return [run for run in self.runs if run.name not in self.log.diverged]

    def follow(self) -> None:
        """Learn until the stream ends or the last task is over.

        Raises
        ------
        UserError
            If every run diverges, or an iteration is bad and ``on_bad_iteration`` is ``fail``.
        """
        self._begin()
        for event in self.log.timed(self._events()):
            if isinstance(event, Step | Rejected) and not self._inside(event.iteration):
                self.log.outside += 1
                if event.iteration > self.windows.last:
                    self.log.ending = "all tasks are learned, the producer goes on"
                    break
                continue
            if isinstance(event, Rejected) and self.transit.on_bad_iteration == "fail":
                self._save()  # up to the one before: the same command comes to this one again
                raise UserError(
                    f"{self._called(event.iteration)} cannot be learned from: {event.reason}; "
                    "transit.on_bad_iteration=skip leaves such iterations out"
                )
            self.log.note(event, self.listener.say)
            if isinstance(event, Ending):
                self.ending = event
            elif isinstance(event, Step):
                self._step(event)
            elif isinstance(event, Rejected):
                self._passed(event.iteration)
            elif isinstance(event, Gap):
                self.log.lost += self.windows.count_between(event.first, event.last)
                self._passed(event.last)
        self.log.bytes_read = left(self.ring)
        self._end()

    def manifest(self) -> Manifest:
        """Return what the samples of all tasks that were learned mean."""
        done = self.whole[0]
        return self.manifest_of(done.ended_tasks, done.trained_samples)

    def _events(self) -> Iterator[Any]:
        return with_gaps(self.ring.events(self.seen), self.windows.iterations, self.seen)

    def _called(self, iteration: int) -> str:
        """Return what messages call an iteration."""
        return f"iteration {iteration}"

    def _inside(self, iteration: int) -> bool:
        return self.windows.first <= iteration <= self.windows.last

    def _begin(self) -> None:
        content = self.points.last_whole(self.arrivals.stores, self.listener.say)
        if content is None:
            for run in self.runs:
                run.begin()
            return
        self.seen = content["iteration"]
        self.log = type(self.log)(**content["log"])
        self.log.resumed_after.append(content["iteration"])
        self.arrivals.load_state_dict(content["arrivals"])
        for run in self.runs:
            if run.name in self.log.diverged:
                self.tracker.broke_off(run.run)
            else:
                run.resume(content["iteration"], content["timings"][run.name])
        self._go_on(content)
        self.shown.come_to(self._count(), "")
        self.listener.say(f"goes on after {self._behind()}; to begin anew, delete {self.folder}")

    def _go_on(self, content: Node) -> None:
        """Take what else stands in a resume point."""

    def _behind(self) -> str:
        """Return, in words, what is behind the runs."""
        return self._called(self.seen or 0)

    def _count(self) -> int:
        """Return how many iterations of the tasks are behind the runs."""
        return 0 if self.seen is None else self.windows.count_through(self.seen)

    def _step(self, step: Step) -> None:
        self.log.iterations += 1
        for arrival in self.arriving.take(step):
            self._learn(arrival)
        self._passed(step.iteration)
        if self.log.iterations % self.transit.checkpoint_every == 0:
            self._save()

    def _learn(self, arrival: Arrival) -> None:
        if arrival.batch is None:
            return
        for run in self.whole:
            if run.trainer.task not in (None, arrival.task):
                self._end_task(run)
            self._guarded(run, run.learn, *self._lesson(arrival))
        most = self.transit.max_batches_per_iteration or 0
        extra = most - self.transit.batches_per_iteration
        while extra > 0 and not self.ring.ready():
            for run in self.whole:
                self._guarded(run, run.train_again, 1)
            extra -= 1

    def _lesson(self, arrival: Arrival) -> tuple[Any, ...]:
        """Return what a run is given to learn."""
        return arrival.task, arrival.batch

    def _guarded(self, run: TransitRun, function: Any, *arguments: Any) -> None:
        """Let a run that diverges drop out, and the others go on."""
        try:
            function(*arguments)
        except DivergedError as error:
            self.log.diverged[run.name] = str(error)
            self.tracker.broke_off(run.run)
            self.listener.say(f"{run.name} drops out: {error}")
            if not self.whole:
                raise UserError(f"nothing is left to train; {run.name}: {error}") from error

    def _end_task(self, run: TransitRun) -> None:
        task = run.trainer.task
        assert task is not None
        evaluable = bool(self.arrivals.held_out.iterations(task))
        if not evaluable:
            self.listener.say(
                f"{run.name}: {self.windows.name(task)} had no held-out iteration: not evaluated"
            )
        run.end_task(self._manifest([*run.ended_tasks, task], run) if evaluable else None)

    def _manifest(self, tasks: Sequence[int], run: TransitRun) -> Node:
        """Describe these tasks: once for all runs, which end them together."""
        if tuple(tasks) not in self._manifests:
            described = self.manifest_of(tasks, run.trained_samples).to_plain()
            self._manifests[tuple(tasks)] = described
        return self._manifests[tuple(tasks)]

    def _passed(self, iteration: int) -> None:
        self.seen = iteration if self.seen is None else max(self.seen, iteration)
        words = f"loss {self.listener.loss:.4f}, waiting {self.log.wait_share:.0%}"
        self.shown.come_to(self._count(), words)
        if self.live is not None:
            self.live.update(self._facts)

    def _facts(self) -> dict[str, Any]:
        """Return what who watches is told: see :class:`~insituml_pipelines.transit.live.Live`."""
        log, means = self.log, self.listener.means
        memory = {run.run.recipe.method_name: run.memory() for run in self.whole}
        return {
            "planned": len(self.windows.iterations),
            "passed": self._count(),
            "iteration": self.seen,
            "learned": log.iterations,
            "lost": log.lost,
            "gap_count": len(log.gaps),
            "rejected_count": len(log.rejected),
            "gaps": log.gaps[-NEWEST:],
            "rejected": log.rejected[-NEWEST:],
            "diverged": log.diverged,
            "seconds": log.seconds,
            "waited": log.waited,
            "lag": self.ring.lag,
            "ready": self.ring.ready(),
            "losses": {method: sum(of.values()) / len(of) for method, of in means.items()},
            "memory": memory,
            "shared": self.ring.bound_bytes,
        }

    def _save(self) -> None:
        """Write a resume point of all runs: what names it is written last."""
        if self.seen is None or self.arrivals.pending:
            return
        self.points.write(self.seen, self._state(), list(self.log.diverged))

    def _state(self) -> dict[str, Any]:
        """Return what a resume point holds beside the states of the runs."""
        return {"log": self.log.state_dict(), "arrivals": self.arrivals.state_dict()}

    def _end(self) -> None:
        # What came before a death may be too little to normalise by: the next call begins anew.
        settled = not self.arrivals.pending
        for arrival in self.arriving.rest():
            self._learn(arrival)
        if not isinstance(self.ending, Finished):
            if settled:
                self._save()
            for run in self.whole:
                self.tracker.broke_off(run.run)
            if batches := self.transit.batches_after_death:
                self.listener.say(f"{self.log.ending}; goes on from memory for {batches} batches")
                for run in self.whole:
                    if run.trainer.task is not None:
                        self._guarded(run, run.train_again, batches)
        if self.live is not None:
            words = f"{self.log.ending}; tasks end, then all is evaluated"
            self.live.say(RUNNING, words, **self._facts())
        for run in self.whole:
            if run.trainer.task is not None:
                self._end_task(run)
            if isinstance(run, CollectedRun):
                self.listener.say(
                    f"{run.name} trains on the whole stream, {run.bytes_held / 1e6:.1f} MB kept "
                    "in memory: a bound"
                )
            if run.ended_tasks:
                self._guarded(run, run.conclude, self._manifest(run.ended_tasks, run))
        self.shown.close()
