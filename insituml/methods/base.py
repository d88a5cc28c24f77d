"""The hooks of a continual-learning method; doing nothing in each is plain fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch, Task
from insituml.estimates import mean_over
from insituml.learner import ContinualLearner


@dataclass(frozen=True)
class NextEpoch:
    """How training goes on after an epoch.

    Parameters
    ----------
    rate_factor
        What the optimizer's learning rates are multiplied by, from now on.
    ended
        Whether the task ends here, however many epochs were planned.
    """

    rate_factor: float = 1.0
    ended: bool = False


AS_PLANNED = NextEpoch()


class Method:
    """What keeps a learner from forgetting.

    The trainer alone zeroes gradients, calls backward, clips and steps the optimizer. It calls
    the hooks in the order in which they stand here. :class:`~insituml.methods.Combined` runs
    several methods at once, so each changes only what its hook hands it.

    Parameters
    ----------
    generator
        Source of all randomness of the method.
    """

    sequential = True
    """Whether tasks are learned one after the other, so that forgetting has a meaning."""

    keeps_all_data = False
    """Whether all training data are held, and not a bounded part of them."""

    is_bound = False
    """Whether a method that sees each task once cannot be expected to do better."""

    keeps_to_budget = True
    """Whether a budget of samples ends a task; False where it finds out itself what is enough."""

    is_baseline = False
    """Whether it is what anyone would try first, and other methods are measured by."""

    learns_in_transit = True
    """Whether tasks are learned as they come; False where :meth:`schedule` goes back to one."""

    learns_sharded = False
    """Whether a learner can be trained of which each rank holds a part (:mod:`insituml.sharding`).

    Such a method looks at no weight and no gradient. It calls the learner's loss, or output, once
    for each mean over samples, and at the end of a task if :attr:`encodes_at_end`.
    """

    encodes_at_end = False
    """Whether :meth:`end_task` passes samples through the learner."""

    learns_by_gradient = True
    """Whether the learner is trained by an optimizer; False where it learns as it observes.

    Such a method passes over each task once, and no step is taken: what records count, and give
    losses of, are then the batches that were looked at.
    """

    make_learner: Callable[[], ContinualLearner] | None = None
    """Makes the learner that is trained, whatever model others train; None: the method has none."""

    converges = False
    """Whether the method trains until a validation part stops improving, which each task must have.

    It lowers the learning rate, ends its training and chooses the weights itself: of a schedule the
    warm-up alone is kept, and no average of the weights is.
    """

    needs_output = False
    """Whether :meth:`penalty` is given the learner's output, from the loss's own forward pass."""

    ties_parameters = False
    """Whether :meth:`penalty` is one of the parameters themselves, not of what they compute."""

    def __init__(self, *, generator: torch.Generator) -> None:
        self.generator = generator

    @property
    def samples_replayed(self) -> int:
        """How many samples were drawn from a memory since the method was made."""
        return 0

    @property
    def note(self) -> str:
        """What who reads the results should know of how training went; nothing, as a rule."""
        return ""

    def schedule(self, tasks: Sequence[Task], epochs: int) -> Iterator[tuple[Task, int]]:
        """Yield what to train on and for how many epochs; one checkpoint is kept after each."""
        return ((task, epochs) for task in tasks)

    def mix_replayed(self, mix: IterationMixing) -> None:
        """Learn how samples may be mixed, where whole iterations will be observed in order.

        Whoever trains in transit says so before the first task; a method whose memory knows the
        places of its samples mixes those that it replays.
        """

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        """Prepare for a task, before its first batch."""

    @contextmanager
    def observing(self, learner: ContinualLearner) -> Iterator[None]:
        """Surround what the learner itself does with new samples, which may move its latents."""
        yield

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        """Return the batch that the learner's loss is taken on; replay adds samples at its end."""
        return batch

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        """Return what is added to the learner's loss, a scalar; None for nothing.

        Parameters
        ----------
        learner
            The learner.
        batch
            As :meth:`join` returned it.
        output
            ``learner.output(batch)`` where the method's :attr:`needs_output` is true, else None; so
            too where no sample of the batch is at hand.

        Notes
        -----
        Several processes may train one learner, each with a part of the batch at hand. A mean over
        samples therefore goes through :func:`~insituml.estimates.mean_over`.
        """
        return None

    def loss(self, learner: ContinualLearner, batch: Batch) -> Tensor:
        """Return what to minimise on a batch, a scalar; made of :meth:`join`, :meth:`penalty`."""
        batch = self.join(learner, batch)
        output: Tensor | None = None

        def learners_own(batch: Batch) -> Tensor:
            nonlocal output
            if self.needs_output:
                loss, output = learner.loss_and_output(batch)
            else:
                loss = learner.loss(batch)
            self.note_use(loss)
            return loss

        loss = mean_over(batch, learners_own)
        penalty = self.penalty(learner, batch, output)
        return loss if penalty is None else loss + penalty.to(loss.device)

    def note_use(self, value: Tensor) -> None:
        """Look at which parameters a loss depends on, before a penalty on them is added."""

    def spare_unused(self, learner: ContinualLearner) -> None:
        """Take back, after backward, the gradients of parameters which no loss has used."""

    def correct_gradients(self, learner: ContinualLearner) -> None:
        """Change ``p.grad`` after backward, before clipping and the optimizer's step."""

    def after_step(self, learner: ContinualLearner) -> None:
        """Look at the parameters, or change them, after each step of the optimizer."""

    def take_one_task(self) -> None:
        """Hear, before the first one, that one task is all there will be.

        A method that replays samples then does so within it.

        Raises
        ------
        ValueError
            If what it does would be wrong there.
        """

    def of_simulation(self, simulation: int) -> None:
        """Hear which of several simulations the samples are of that are observed next."""

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        """Look at a batch after the step on it; called for the first epoch of a task only.

        Later epochs would show the same samples again.
        """

    def end_epoch(self, learner: ContinualLearner, task: Task) -> NextEpoch:
        """Say how to go on after an epoch, from files: in transit there are none."""
        return AS_PLANNED

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        """Consolidate what was learned, after the last batch of a task."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything a resumed run needs: nested dictionaries of tensors and numbers."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        """Restore :meth:`state_dict`; ``learner`` tells the device."""
        self.generator.set_state(state["generator"])

    def memory_bytes(self) -> int:
        """Return the size of the tensors kept from task to task."""
        state = self.state_dict()
        del state["generator"]
        return _bytes_of(state)


def _bytes_of(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes_of, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_bytes_of, value))
    return 0
