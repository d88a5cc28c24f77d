"""Dark experience replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch, Task, sent
from insituml.estimates import mean_over, union
from insituml.gradients import evaluation_mode
from insituml.learner import ContinualLearner
from insituml.memory import Memory, ReservoirMemory
from insituml.methods.distillation import check_output, output_distance
from insituml.methods.remembering import Remembering
from insituml.methods.sampling import check_sample_count, draw_size
from insituml.original_interface import CallOrderError


class DER(Remembering):
    """Keep the outputs on stored samples close to what they were when their task was learned.

    The loss is ``L + alpha · mean (f(x') − z')²``, where f is ``learner.output`` and (x', z') are
    drawn from what a memory of samples and of the outputs on them holds of past tasks. The
    outputs are those of the model at the end of the samples' task.

    Parameters
    ----------
    memory_size
        Samples in the memory, each with its labels and its output; None: ``memory`` says how many
        bytes it may have.
    replay_size
        Samples drawn with each batch; None: as many as the batch has.
    alpha
        Weight of the mean squared difference, 0 or more.
    memory, batched
        As in :class:`~insituml.methods.ExperienceReplay`.
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
    encodes_at_end = True

    def __init__(
        self,
        memory_size: int | None,
        replay_size: int | None = None,
        alpha: float = 0.5,
        memory: Callable[..., Memory] = ReservoirMemory,
        batched: bool = True,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(memory_size, memory, batched=batched, generator=generator)
        check_sample_count("replay_size", replay_size)
        if alpha < 0:
            raise ValueError(f"alpha is {alpha}; expected 0 or more")
        self.replay_size = replay_size
        self.alpha = alpha
        self.learns_sharded = not self.memory.needs_losses
        # Without rows: shape and dtype of an output, for the room that is made for them.
        self._like: Tensor | None = None

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        self._note_form(learner, batch, output)
        past = self.draw(batch) if self.remembers() else None
        if past is None:
            return None

        def moved(past: Batch) -> Tensor:
            return output_distance(learner.output(past[:-1]), past[-1], learner)

        return self.alpha * mean_over(past, moved)

    def _note_form(self, learner: ContinualLearner, batch: Batch, output: Tensor | None) -> None:
        """Remember what outputs are like; from other samples, where none is at hand."""
        form: set[tuple[torch.Size, torch.dtype]] = set()
        if len(batch[0]):
            check_output(output, learner)
            assert output is not None
            # What a stored output is compared with may have more digits than this one.
            form.add((output.shape[1:], torch.promote_types(output.dtype, torch.float32)))
        if self._like is None:
            form = union(form)
        for shape, dtype in form:
            self._like = torch.empty((0, *shape), dtype=dtype, device=batch[0].device)

    def draw(self, batch: Batch) -> Batch | None:
        """Return samples of past tasks, their outputs in the last column, on the batch's device.

        None where none is stored.
        """
        # The outputs kept for the present task are those of a model that has yet to learn it.
        past = self.past(draw_size(self.replay_size, batch))
        return None if past is None else tuple(sent(t, batch[0].device) for t in past)

    def kept(self, learner: ContinualLearner, samples: Batch) -> Batch:
        """Return the samples with room for their outputs, known when their task is learned."""
        if self._like is None:
            raise CallOrderError(
                f"{type(self).__name__} makes room for outputs of the shape that the loss was "
                "taken on; call loss(learner, batch) first"
            )
        nothing = self._like.new_zeros(1, device=samples[0].device)
        return (*samples, nothing.expand(len(samples[0]), *self._like.shape[1:]))

    def take_one_task(self) -> None:
        raise ValueError(
            f"{type(self).__name__} compares with outputs from the end of a task, and there is one "
            "task alone; learn several (data.ensemble.tasks=time), or take experience_replay"
        )

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        super().end_task(learner, task)
        device = next(learner.parameters()).device

        def with_new_output(samples: Batch) -> Batch:
            inputs = tuple(t.to(device) for t in samples[:-1])
            return (*samples[:-1], learner.output(inputs).to(samples[-1]))

        with evaluation_mode(learner), torch.no_grad():
            self.memory.revise(task.index, with_new_output)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "like": self._like}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self._like = state["like"]
