"""Dark experience replay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from insituml.data.task import Batch, Task
from insituml.gradients import evaluation_mode
from insituml.learner import ContinualLearner
from insituml.memory import ReservoirMemory
from insituml.methods.base import Method
from insituml.original_interface import CallOrderError


class DER(Method):
    """Keep the outputs on stored samples close to what they were when their task was learned.

    The loss is ``L + alpha · mean (f(x') − z')²``, where f is ``learner.output`` and (x', z') are
    drawn from what a reservoir of samples and of the outputs on them holds of past tasks. The
    outputs are those of the model at the end of the samples' task.

    Parameters
    ----------
    memory_size
        Samples in the reservoir; each is stored with its labels and its output.
    replay_size
        Samples drawn with each batch; None: as many as the batch has.
    alpha
        Weight of the mean squared difference, 0 or more.
    generator
        Chooses the samples stored and drawn.

    Raises
    ------
    ValueError
        If a size is below 1 or ``alpha`` is negative.

    References
    ----------
    Buzzega et al., "Dark experience for general continual learning: a strong, simple baseline",
    NeurIPS 2020, eq. 5.

    Notes
    -----
    The paper keeps the outputs of the step that stores a sample. Over several epochs it goes on to
    store; here samples are met in the first epoch only, whose outputs are those of a model that has
    hardly learned the task, and in transit at a time when no step is taken on them.
    """

    needs_output = True

    def __init__(
        self,
        memory_size: int,
        replay_size: int | None = None,
        alpha: float = 0.5,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        if replay_size is not None and replay_size < 1:
            raise ValueError(f"replay_size is {replay_size}; expected 1 or more, or null")
        if alpha < 0:
            raise ValueError(f"alpha is {alpha}; expected 0 or more")
        self.memory = ReservoirMemory(memory_size, generator=generator)
        self.replay_size = replay_size
        self.alpha = alpha
        self.task = 0
        # Without rows: shape and dtype of an output, for the room that observe makes.
        self._like: Tensor | None = None

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        self.task = task.index

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        assert output is not None
        self._like = output.new_empty((0, *output.shape[1:]))
        # During the first task there is nothing to remember.
        if self.task == 0 or len(self.memory) == 0:
            return None
        *past, stored = self.draw(batch)
        if len(stored) == 0:  # a small reservoir may have dropped all of them
            return None
        now = learner.output(tuple(past))
        return self.alpha * mse_loss(now, stored.to(now.device))

    def draw(self, batch: Batch) -> Batch:
        """Return samples of past tasks, their outputs in the last column, on the batch's device."""
        # The outputs kept for the present task are those of a model that has yet to learn it.
        size = self.replay_size or len(batch[0])
        samples = self.memory.sample(size, without_task=self.task)
        return tuple(t.to(batch[0].device) for t in samples)

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        if self._like is None:
            raise CallOrderError(
                f"{type(self).__name__}.observe makes room for outputs of the shape that the loss "
                "was taken on; call loss(learner, batch) first"
            )
        # Outputs are stored at the end of the task, when the model has learned it.
        shape = (len(batch[0]), *self._like.shape[1:])
        room = self._like.new_zeros(shape, device=batch[0].device)
        self.memory.add((*batch, room), self.task)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        device = next(learner.parameters()).device

        def with_new_output(samples: Batch) -> Batch:
            inputs = tuple(t.to(device) for t in samples[:-1])
            return (*samples[:-1], learner.output(inputs).to(samples[-1].device))

        with evaluation_mode(learner), torch.no_grad():
            self.memory.revise(task.index, with_new_output)

    def state_dict(self) -> dict[str, Any]:
        own = {"memory": self.memory.state_dict(), "task": self.task, "like": self._like}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.memory.load_state_dict(state["memory"])
        self.task, self._like = state["task"], state["like"]
