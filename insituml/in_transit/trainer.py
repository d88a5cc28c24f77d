"""Learn from a stream as it arrives: each step is trained on while it is recent, then let go."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch, Task
from insituml.in_transit.dealt import Samples, count_of, share_of, whole_of
from insituml.in_transit.kept import Kept, check_positive
from insituml.in_transit.now_buffer import NowBuffer
from insituml.in_transit.task_progress import TaskProgress
from insituml.learner import ContinualLearner
from insituml.memory import ReservoirMemory
from insituml.memory.rows import RowMemory
from insituml.methods.base import Method
from insituml.optimisation import CONSTANT, Augment, AveragedWeights, Schedule, Stepper
from insituml.progress import Pace, Progress
from insituml.records import Report, TaskRecord, check_finite
from insituml.replicas import check_alike, make_alike
from insituml.trainable import check_in_transit, check_optimizer, check_ranks, moved
from insituml.unseen import observes


class InTransitTrainer:
    """Trains one learner on samples that are pushed into it and never come again.

    New samples enter a buffer of the most recent ones; batches are drawn from it. A sample is
    shown to ``method.observe`` once, when it leaves the buffer: buffer and memory are disjoint. For
    methods that look back at the end of a task (Fisher information, episodic memory), a uniform
    sample of the task is kept. The learner itself observes a sample when it comes; a method that
    does not learn by gradients leaves it at that. Memory is bounded by all that and what the method
    stores. The same samples in the same order give the same weights, to the bit, whatever their
    source.

    Where ``torch.distributed`` is initialised, all ranks are called alike and given all that
    arrives, or their shares of it (:class:`~insituml.in_transit.Dealt`): each keeps its share, and
    reads its share of each batch (:mod:`insituml.ranks`).

    Parameters
    ----------
    learner, method, optimizer
        Changed in place. The method must learn tasks one after the other, not all at once.
    now_samples
        Capacity of the buffer of recent samples; one iteration's samples at least.
    task_samples
        Capacity of the uniform sample of the current task.
    batches_per_arrival
        Batches trained on after each arrival of samples (``n_rep``).
    batch_size
        Samples of a batch, drawn from the buffer; the method may join stored ones.
    accumulate
        Batches whose gradients make one step; an arrival's last step may have fewer.
    generator
        Source of the draws; see :func:`insituml.training.train` for dropout.
    schedule
        Of the learning rate; one with an end needs to be told how many arrivals a task will have.
    mix
        Mixes drawn samples with others of the buffer, before ``augment``, and replayed ones where
        the method can; what :meth:`learn` gets must then be whole iterations. None: nothing does.
    max_gradient_norm, average, augment, report, progress
        As in :func:`insituml.training.train`; an :class:`EpochRecord` is reported after each
        arrival and each call of :meth:`train_again`, its ``epoch`` counting the task's arrivals.

    Raises
    ------
    ValueError
        If a number is below 1, or the method cannot learn in transit.
    """

    _buffer_kind: type[NowBuffer] = NowBuffer
    _sample_kind: type[RowMemory] = ReservoirMemory

    def __init__(
        self,
        learner: ContinualLearner,
        method: Method,
        optimizer: torch.optim.Optimizer,
        *,
        now_samples: int,
        task_samples: int,
        batches_per_arrival: int,
        batch_size: int,
        generator: torch.Generator,
        accumulate: int = 1,
        max_gradient_norm: float | None = None,
        schedule: Schedule = CONSTANT,
        average: AveragedWeights | None = None,
        augment: Augment | None = None,
        mix: IterationMixing | None = None,
        report: Report = lambda record: None,
        progress: Progress = lambda steps: None,
    ) -> None:
        check_positive(
            {"batches_per_arrival": batches_per_arrival, "task_samples": task_samples},
            {"batch_size": batch_size, "accumulate": accumulate},
        )
        check_in_transit(method)
        check_optimizer(optimizer, learner)
        check_ranks(learner)
        self.learner, self.method, self.optimizer = learner, method, optimizer
        self.batches_per_arrival, self.batch_size = batches_per_arrival, batch_size
        self.accumulate = accumulate
        self.generator = generator
        self.mix = mix
        if mix is not None:
            method.mix_replayed(mix)
        self.report, self.progress = report, progress
        self.task: int | None = None
        """Task that is being learned; None between tasks."""
        self.steps = 0
        """Steps of the optimizer so far, over all tasks."""
        self._stepper = Stepper(
            learner,
            method,
            optimizer,
            max_gradient_norm=max_gradient_norm,
            schedule=schedule,
            batch_size=batch_size,
            augment=augment,
            generator=generator,
            average=average,
        )
        make_sample = partial(self._sample_kind, task_samples, generator=generator)
        self._kept = Kept(self._buffer_kind(now_samples), make_sample, generator)
        self._progress = TaskProgress()

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the recent samples and of the task's sample; on ranks, of this one's."""
        return self._kept.bytes

    def begin_task(
        self, task: int, name: str, first: Samples, *, arrivals: int | None = None
    ) -> None:
        """Begin a task.

        Parameters
        ----------
        task, name
            Its index and what figures call it.
        first
            Its first samples, for a method that looks at some; :meth:`learn` is given them too.
        arrivals
            How many times :meth:`learn` will be called for it; None: nobody knows. Where fewer
            come, a schedule does not reach its end; where more come, it stays there.

        Raises
        ------
        ValueError
            If a task has not ended, the schedule has an end and ``arrivals`` is not known, or ranks
            were made with other arguments.
        """
        if self.task is not None:
            raise ValueError(f"task {self.task} has not ended; call end_task before task {task}")
        make_alike(
            self.learner,
            [self.generator, self.method.generator],
            batches_per_arrival=self.batches_per_arrival,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
        )
        self.task, self._progress = task, self._progress.next(name, self.steps)
        self._stepper.count_anew()
        steps = -(-self.batches_per_arrival // self.accumulate)
        self._stepper.rate.begin(None if arrivals is None else arrivals * steps)
        self._kept.begin_task()
        self.learner.train()
        with self._working():
            self._stepper.begin_task(Task(task, name, share_of(first), ()))

    def learn(self, samples: Samples) -> None:
        """Take in new samples of the current task and train on what is recent.

        Parameters
        ----------
        samples
            Columns ``(n, ...)``, copied.

        Raises
        ------
        ValueError
            If samples are to be mixed and these are no whole iterations.
        DivergedError
            If a loss is not finite.
        """
        task = self._current_task()
        if self.mix is not None:
            self.mix.check(
                count_of(samples), f"what arrived of task {task} ({self._progress.name})"
            )
        with self._working():
            self._observe(self._kept.now.add(samples))
            new = share_of(samples)
            self._kept.sample.add(new, task)
            with self.method.observing(self.learner):
                if observes(self.learner):
                    self._stepper.show(moved(whole_of(samples), self.learner))
        self._progress.arrivals += 1
        if self.method.learns_by_gradient:
            self._train(self.batches_per_arrival, advance=True)
        else:
            self._report(task, [self._stepper.take(moved(new, self.learner))])

    def train_again(self, batches: int) -> None:
        """Train on what is recent once more, such as while nothing new arrives.

        Nothing is done where the method does not learn by gradients. A schedule of the learning
        rate stands still meanwhile: it follows the arrivals.

        Parameters
        ----------
        batches
            How many to train on.

        Raises
        ------
        ValueError
            If the task has no samples yet.
        DivergedError
            If a loss is not finite.
        """
        self._train(batches, advance=False)

    def _train(self, batches: int, *, advance: bool) -> None:
        task = self._current_task()
        if not self.method.learns_by_gradient:
            return
        with self._working():
            losses, pace = [], Pace(self.progress)
            for drawn in self._kept.draws(batches, self.batch_size, self.accumulate, self.mix):
                losses.append(self._stepper.take(moved(drawn, self.learner), advance=advance))
                pace.step()
            pace.tell()
        self._report(task, losses)

    def _report(self, task: int, losses: list[Tensor]) -> None:
        with self._working():
            values = tuple(torch.stack(losses).tolist())  # the wait for the device
        self.report(self._progress.record(task, self.steps, values))
        self.steps += len(values)
        check_finite(self._progress.mean_loss, f"task {task} ({self._progress.name})")

    def end_task(self, test: Batch = ()) -> TaskRecord:
        """End the current task: its last samples leave the buffer, and the method looks back.

        Parameters
        ----------
        test
            Its held-out samples, handed to the method's hook.
        """
        task, at = self._current_task(), self._progress
        if not at.arrivals:
            raise ValueError(f"task {task} ({at.name}) has no sample to train on")
        with self._working():
            for leaving in self._kept.released(self.batch_size):
                self._observe(leaving)
            # The rows themselves, not a copy: the next task gets others.
            train = moved(self._kept.sample.stored(), self.learner)
            ended = Task(task, at.name, train, test)
            self._stepper.end_task(ended)
        check_alike(self.learner, f"after task {task} ({at.name})")
        steps = self.steps - at.first_step
        record = self._stepper.record(ended, steps, at.mean_loss, at.seconds)
        self.task = None
        self.report(record)
        return record

    def state_dict(self) -> dict[str, Any]:
        """Return the trainer's own state; learner, method, optimizer, generator have theirs."""
        own = {"task": self.task, "steps": self.steps, "stepper": self._stepper.state_dict()}
        return own | self._progress.state_dict() | self._kept.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self.task, self.steps = state["task"], state["steps"]
        self._progress = TaskProgress.of(state)
        self._stepper.load_state_dict(state["stepper"])
        self._kept.load_state_dict(state)
        make_alike(self.learner, [self.generator, self.method.generator])
        self.learner.train()

    def _observe(self, samples: Batch) -> None:
        if samples and ranks.total(len(samples[0])):
            self._stepper.observe(moved(samples, self.learner))

    def _current_task(self) -> int:
        if self.task is None:
            raise ValueError("no task has begun; call begin_task first")
        return self.task

    def _working(self) -> AbstractContextManager[None]:
        return self._progress.working(self.learner, self.generator, self.steps)
