"""Steps of the optimizer and what surrounds them: what training from files and in transit share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from insituml import rank_rows, ranks
from insituml.data.task import Batch, Task
from insituml.learner import ContinualLearner
from insituml.methods.base import Method, NextEpoch
from insituml.optimisation.amount import parts
from insituml.optimisation.averaged_weights import AveragedWeights
from insituml.optimisation.clipping import clip_shards
from insituml.optimisation.learning_rate import LearningRate
from insituml.optimisation.schedule import CONSTANT, Schedule
from insituml.optimisation.work import Work
from insituml.records import TaskRecord
from insituml.shards import explaining, explaining_step, gathered, is_shard, is_sharded
from insituml.stand_in import standing_in
from insituml.trainable import check_loss, normalises_batches
from insituml.unseen import show

Augment = Callable[[Batch, torch.Generator], Batch]
"""Returns as many samples, changed by chance in ways that the data would allow."""


class Stepper:
    """Takes steps of an optimizer and calls the method's hooks; counts samples and FLOPs.

    The samples of a step may pass in parts of ``batch_size``, whose gradients add up, each loss in
    proportion to its samples: the mean over them all, as of one large batch. A penalty counts in
    the same proportion, so that one which does not depend on the samples counts once; what a
    method draws from its memory, it draws for each part. The method corrects the gradient of all,
    which is then clipped, once a step.

    On several ranks (:mod:`insituml.ranks`) each is given its rows of a step, and gradients are
    averaged over ranks before the method corrects them: from there on all do the same. Where each
    holds a part of the learner (:mod:`insituml.sharding`), backward itself averages them.

    Parameters
    ----------
    learner, method, optimizer
        Changed in place.
    max_gradient_norm
        Clip the gradient to this Euclidean norm, after the method's correction; None: do not.
    schedule
        Of the learning rate.
    batch_size
        Samples that pass at once; None: all of a step's.
    augment
        Makes of the samples of each step, and of ``generator``, what is trained on in their place.
    average
        Told of the weights after each step; None: nobody is.
    done
        Steps that a resumed run has behind it.
    """

    def __init__(
        self,
        learner: ContinualLearner,
        method: Method,
        optimizer: torch.optim.Optimizer,
        *,
        max_gradient_norm: float | None = None,
        schedule: Schedule = CONSTANT,
        batch_size: int | None = None,
        augment: Augment | None = None,
        generator: torch.Generator,
        average: AveragedWeights | None = None,
        done: int = 0,
    ) -> None:
        self.learner = learner
        self.method = method
        self.optimizer = optimizer
        self.max_gradient_norm = max_gradient_norm
        self.batch_size = batch_size
        self.augment = augment
        self.generator = generator
        self.average = average
        self.sharded = is_sharded(learner)
        self.count_anew()
        self.rate = LearningRate(optimizer, schedule, done=done)

    def count_anew(self) -> None:
        """Count from here on, such as what a task takes."""
        self.work = Work()
        self.samples_seen = 0
        """Samples of the stream, each counted as often as a step was taken on it."""
        self.samples_replayed = 0
        """Samples that the method drew from its memory for these steps."""

    def begin_task(self, task: Task) -> None:
        """Let the method prepare for a task."""
        self.work.count(lambda: self.method.begin_task(self.learner, task))

    def show(self, batch: Batch) -> None:
        """Let the learner observe samples that come for the first time."""
        if ranks.rank() == 0:
            self.work.count(lambda: show(self.learner, batch))
        else:  # what every rank does alike counts once
            show(self.learner, batch)

    def observe(self, batch: Batch) -> None:
        """Let the method look at samples after the step on them."""
        self.work.repeated(
            "observe", len(batch[0]), lambda: self.method.observe(self.learner, batch)
        )

    def take(self, batch: Batch, *, advance: bool = True) -> Tensor:
        """Take a step; return the loss before it, a scalar without its graph.

        Nothing but the loss is computed where the method does not learn by gradients.

        Parameters
        ----------
        batch
            All samples of the step, columns ``(n, ...)`` on the learner's device; on several ranks,
            this one's.
        advance
            Whether the schedule goes on with this step, or stands still.
        """
        count = ranks.total(len(batch[0]))
        self.samples_seen += count
        replayed = self.method.samples_replayed
        if advance and self.method.learns_by_gradient:
            self.rate.advance()
        loss = self.work.repeated("step", len(batch[0]), lambda: self._step(batch, count))
        self.samples_replayed += self.method.samples_replayed - replayed
        return loss

    def _step(self, batch: Batch, count: int) -> Tensor:
        if self.augment is not None:
            batch = self.augment(batch, self.generator)
            ranks.agree_on(self.generator)
        if not self.method.learns_by_gradient:
            with torch.no_grad():
                return self.method.loss(self.learner, batch).reshape(())
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(batch, count)
        if ranks.size() > 1:
            ranks.average_gradients([p for p in self.learner.parameters() if not is_shard(p)])
        self.method.correct_gradients(self.learner)
        if self.max_gradient_norm is not None:
            if self.sharded:
                clip_shards(self.learner.parameters(), self.max_gradient_norm)
            else:
                torch.nn.utils.clip_grad_norm_(self.learner.parameters(), self.max_gradient_norm)
        with explaining_step(self.optimizer) if self.sharded else nullcontext():
            self.optimizer.step()
        self.method.after_step(self.learner)
        if self.average is not None:
            self.average.update(self.learner)
        return loss

    def _backward(self, batch: Batch, count: int) -> Tensor:
        """Add up the gradients of the parts of a batch of ``count``; return its loss."""
        size = self.batch_size or count
        if count <= size:
            return self._add_gradient(batch, count)
        sizes = parts(count, size, join_lone=normalises_batches(self.learner))
        own = ranks.shares(sizes)
        columns = zip(*(column.split(own) for column in batch), strict=True)
        losses = [
            self._add_gradient(part, n, n / count) for part, n in zip(columns, sizes, strict=True)
        ]
        return torch.stack(losses).sum()

    def _add_gradient(self, batch: Batch, count: int, share: float = 1.0) -> Tensor:
        with self._in_parts(batch, count):
            loss = self.method.loss(self.learner, batch)
        depends = True
        if len(batch[0]) or ranks.size() == 1:
            loss = check_loss(loss, self.learner)
        else:  # others have samples; what is drawn from memories may still be this rank's
            depends = loss.requires_grad
        if share != 1:
            loss = loss * share
        if depends:
            loss.backward()
        return loss.detach()

    @contextmanager
    def _in_parts(self, batch: Batch, count: int) -> Iterator[None]:
        """Let a rank without a sample compute on another's, where each holds a part of the learner.

        All ranks have ``count`` samples together.
        """
        if not self.sharded:
            yield
            return
        few = count < ranks.size()  # and any rank may be the one that has none
        row = tuple((rank_rows.stacked(column) if few else column)[:1] for column in batch)
        with explaining(self.learner), standing_in(lambda: self.learner.loss(row)):
            yield

    def end_epoch(self, task: Task) -> NextEpoch:
        """Ask the method how to go on."""
        return self.work.repeated("epoch", 0, lambda: self.method.end_epoch(self.learner, task))

    def end_task(self, task: Task) -> None:
        """Let the method end a task; weights that it sets are taken over by the average."""
        if self.average is None:
            # Ranks have samples of their own to pass through the learner, whatever their number.
            alone = self.sharded and self.method.encodes_at_end
            with gathered(self.learner) if alone else nullcontext():
                self.work.count(lambda: self.method.end_task(self.learner, task))
            return
        with self.average.begun_anew_where_changed(self.learner):
            self.work.count(lambda: self.method.end_task(self.learner, task))

    def record(self, task: Task, steps: int, loss: float, seconds: float) -> TaskRecord:
        """Return what is said of a task that has ended, with what was counted."""
        return TaskRecord(
            task.index,
            task.name,
            steps,
            loss,
            seconds,
            self.method.note,
            self.samples_seen,
            self.samples_replayed,
            ranks.total(self.work.flops),
            by_gradient=self.method.learns_by_gradient,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands; learner, method, optimizer and average have their own."""
        counted = {"samples_seen": self.samples_seen, "samples_replayed": self.samples_replayed}
        work = {**self.work.state_dict(), "flops": ranks.total(self.work.flops)}
        return {"rate": self.rate.state_dict(), "work": work, **counted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self.rate.load_state_dict(state["rate"])
        self.work.load_state_dict(state["work"])
        if ranks.rank() > 0:  # the first has counted for all so far
            self.work.flops = 0
        self.samples_seen, self.samples_replayed = state["samples_seen"], state["samples_replayed"]
