"""The training loop over a stream of tasks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch, Task
from insituml.dealing import dealt_batches, own_part
from insituml.learner import ContinualLearner
from insituml.methods.base import Method
from insituml.optimisation import (
    CONSTANT,
    Amount,
    Augment,
    AveragedWeights,
    Schedule,
    Stepper,
    scale_rates,
)
from insituml.progress import Pace, Progress
from insituml.records import DivergedError, EpochRecord, Report, TaskRecord, check_finite
from insituml.replicas import check_alike, make_alike
from insituml.sharding import check_sharded
from insituml.shards import is_sharded
from insituml.trainable import (
    check_optimizer,
    check_ranks,
    check_samples,
    moved,
    normalises_batches,
)
from insituml.unseen import observes

__all__ = ["DivergedError", "EpochRecord", "Progress", "Report", "TaskRecord", "train"]


def train(
    learner: ContinualLearner,
    method: Method,
    tasks: Sequence[Task],
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    budget: int | None = None,
    accumulate: int = 1,
    max_gradient_norm: float | None = None,
    schedule: Schedule = CONSTANT,
    average: AveragedWeights | None = None,
    augment: Augment | None = None,
    mix: IterationMixing | None = None,
    report: Report = lambda record: None,
    progress: Progress = lambda steps: None,
    finished_tasks: int = 0,
    finished_steps: int = 0,
) -> Iterator[TaskRecord]:
    """Learn the tasks in order; yield after each, when its checkpoint can be taken.

    Parameters
    ----------
    learner, method, optimizer
        Changed in place.
    tasks
        The stream.
    epochs
        Passes over each task's samples; a method may ask for other numbers.
    batch_size
        Samples a step; the last batch of an epoch may be smaller. Where the learner has batch
        normalisation, which cannot do with one sample, a last sample joins the batch before it.
    generator
        Source of the order of the samples. Its initial seed also decides, task by task, what
        layers such as dropout draw from torch's global generators; these are left as they were.
    budget
        Samples of each task to train on, replayed ones not counted, in as many passes as that
        takes; of a method that learns all tasks at once, this many for each. It replaces
        ``epochs``, but for a method that finds out itself what is enough. None: ``epochs`` decides.
    accumulate
        Batches whose gradients make one step; see :class:`~insituml.optimisation.Stepper`.
    max_gradient_norm
        Clip the gradient to this Euclidean norm, after the method's correction; None: do not.
    schedule
        Of the learning rate. One with an end ends with each task; with the last one, where the
        method learns all tasks at once.
    average
        Kept of the weights, beside them; None: none is.
    augment
        Called with the samples of each step and ``generator``: returns what is trained on in their
        place. Memories and the learner's ``observe`` get the samples as they are.
    mix
        Mixes the samples of each step, before ``augment``, with others of the same place; those of
        each task must then lie iteration by iteration. None: nothing does, nor where no step is
        taken on them, as the method does not learn by gradients.
    report
        Called with each :class:`EpochRecord` and :class:`TaskRecord`.
    progress
        Called every half second or so, and after each epoch, with the number of steps taken since:
        for a progress bar.
    finished_tasks, finished_steps
        What a resumed run has behind it already.

    A task's samples are shown to ``learner.observe`` when it begins, batch by batch and in order,
    before the first step; those that an earlier task has shown already (:class:`Joint`,
    :class:`Cumulative`) are not shown again.

    Where ``torch.distributed`` is initialised, all ranks are called with the same arguments, and
    each step is one on the whole of its batch, of which a rank reads its share
    (:mod:`insituml.ranks`); but what a learner observes, all of them do. They begin with the
    first one's weights and states of generators. Each may hold a part of the learner alone
    (:mod:`insituml.sharding`).

    Raises
    ------
    ValueError
        If ``epochs``, ``batch_size``, ``budget`` or ``accumulate`` is below 1, there is no task, or
        one has no sample to train on, or with ``mix`` no whole iterations; if the optimizer needs a
        closure or holds other parameters than the learner's; if the learner normalises over a batch
        of which several ranks have their parts; if the method or the average cannot do with a part
        of the learner; if ranks are given different arguments, or hold different weights when a
        task ends; or if the loss is no scalar that depends on a trainable parameter.
    DivergedError
        At the end of an epoch in which a loss was not finite, naming the first such step.
    """
    spent = budget if method.keeps_to_budget else None
    amount = Amount(batch_size, epochs, spent, accumulate)
    if not tasks:
        raise ValueError("tasks is empty; expected one task or more")
    check_optimizer(optimizer, learner)
    check_ranks(learner)
    if is_sharded(learner):
        check_sharded(method, learner, average)
    make_alike(
        learner,
        [generator, method.generator],
        epochs=epochs,
        batch_size=batch_size,
        budget=budget,
        accumulate=accumulate,
        finished_tasks=finished_tasks,
        samples=[len(task.train[0]) if task.train else 0 for task in tasks],
    )
    if mix is not None:
        for task in tasks:
            check_samples(task)
            mix.check(len(task.train[0]), f"task {task.index} ({task.name})")
        mix = mix if method.learns_by_gradient else None
    step = finished_steps
    if method.converges:
        schedule, average = replace(schedule, name="constant"), None
    stepper = Stepper(
        learner,
        method,
        optimizer,
        max_gradient_norm=max_gradient_norm,
        schedule=schedule,
        batch_size=batch_size,
        augment=augment,
        generator=generator,
        average=average,
        done=finished_steps,
    )
    rate = stepper.rate
    # With a budget, what is trained on matters, not for how many epochs: one for each task.
    stretches = method.schedule(tasks, epochs if spent is None else len(tasks))
    learner.train()
    if not method.sequential and not method.converges:
        # One curve over all of it, whose length must be known.
        stretches = iter(parts := list(stretches))
        rate.begin(sum(_steps(*part, amount, learner) for part in parts), done=finished_steps)
    for task, task_epochs in stretches:
        if task.index < finished_tasks:
            continue
        started, first_step, mean_loss = time.perf_counter(), step, float("nan")
        stepper.count_anew()
        learner.train()
        if not method.learns_by_gradient:
            task_epochs = min(task_epochs, 1)
        planned = _steps(task, task_epochs, amount, learner)
        if method.sequential:
            rate.begin(planned)
        count, lone = len(task.train[0]), normalises_batches(learner)
        task_epochs, last = amount.passes(count, task_epochs, join_lone=lone)
        with seeded(generator.initial_seed(), task.index, learner):
            own = own_part(task)
            stepper.begin_task(own)
            if task_epochs > 0:
                with method.observing(learner):
                    _show_unseen(stepper, task, batch_size)
            for epoch in range(task_epochs):
                used = last if epoch == task_epochs - 1 else count
                losses = _train_epoch(
                    stepper,
                    dealt_batches(task.train, used, amount.step_size, generator, learner, mix),
                    observe=epoch == 0,
                    progress=progress,
                )
                # The one wait for the device in an epoch.
                values = tuple(torch.stack(losses).tolist())
                record = EpochRecord(task.index, epoch, task_epochs, step, values, planned)
                mean_loss = sum(values) / len(values)
                step += len(values)
                report(record)
                bad = next((k for k, v in enumerate(values) if not math.isfinite(v)), 0)
                where = f"epoch {epoch + 1} of task {task.index} ({task.name})"
                check_finite(values[bad], f"step {record.first_step + bad + 1}, {where}")
                following = stepper.end_epoch(own)
                if following.rate_factor != 1:
                    scale_rates(optimizer, following.rate_factor)
                if following.ended:
                    break
            stepper.end_task(own)
        check_alike(learner, f"after task {task.index} ({task.name})")
        seconds = time.perf_counter() - started
        result = stepper.record(task, step - first_step, mean_loss, seconds)
        report(result)
        yield result


def _train_epoch(
    stepper: Stepper,
    batches: Iterator[tuple[Batch, Batch]],
    *,
    observe: bool,
    progress: Progress,
) -> list[Tensor]:
    losses = []
    pace = Pace(progress)
    for batch, trained_on in batches:
        losses.append(stepper.take(trained_on))
        if observe:
            stepper.observe(batch)
        pace.step()
    pace.tell()
    return losses


def _show_unseen(stepper: Stepper, task: Task, batch_size: int) -> None:
    """Let the learner observe the whole task: what it makes of it is there from the first step."""
    if ranks.size() > 1 and not observes(stepper.learner):
        return  # what all ranks would read
    for first in range(task.seen, len(task.train[0]), batch_size):
        batch = tuple(column[first : first + batch_size] for column in task.train)
        stepper.show(moved(batch, stepper.learner))


def _steps(task: Task, epochs: int, amount: Amount, learner: ContinualLearner) -> int:
    """Return how many steps a task takes, once it was seen to have samples."""
    check_samples(task)
    lone = normalises_batches(learner)
    return amount.steps(len(task.train[0]), epochs, join_lone=lone)


@contextmanager
def seeded(seed: int, task: int, learner: ContinualLearner) -> Iterator[None]:
    """Seed torch's global generators for one stretch: dropout resumes like everything else.

    On several ranks each has noise of its own.
    """
    devices = {p.device.index for p in learner.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        torch.manual_seed((seed * 1_000_003 + task + ranks.rank() * 7_368_787) % 2**63)
        yield
