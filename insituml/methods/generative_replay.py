"""Generative replay: the past as the learner itself remembers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from insituml.data.task import Batch, Task, joined
from insituml.learner import ContinualLearner
from insituml.memory import Memory, ReservoirMemory
from insituml.methods.copying import check_copyable
from insituml.methods.remembering import Remembering
from insituml.methods.sampling import check_sample_count, draw_size
from insituml.methods.teacher import Teacher


class GenerativeReplay(Remembering):
    """Join each batch with inputs that the model of the last task draws for past conditions.

    Only conditions are stored (a batch's columns after its inputs: times, labels), those of past
    tasks. The learner must be able to draw inputs for them, ``learner.sample``.

    Parameters
    ----------
    memory_size
        Conditions in the memory; None: ``memory`` says how many bytes it may have.
    replay_size
        Samples drawn with each batch; None: as many as the batch has.
    memory, batched
        As in :class:`~insituml.methods.ExperienceReplay`.
    generator
        Chooses the conditions and draws the samples.

    Raises
    ------
    ValueError
        If a size is below 1; at the first task, if the learner cannot sample or the task has
        no conditions, or if the learner cannot be copied.

    References
    ----------
    Shin et al., "Continual learning with deep generative replay", NeurIPS 2017.
    """

    def __init__(
        self,
        memory_size: int | None,
        replay_size: int | None = None,
        memory: Callable[..., Memory] = ReservoirMemory,
        batched: bool = True,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(memory_size, memory, batched=batched, generator=generator)
        check_sample_count("replay_size", replay_size)
        # Not sample by sample while training: the old model knows no condition of a new task.
        self.waits = True
        self.replay_size = replay_size
        self.teacher = Teacher()

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        if type(learner).sample is ContinualLearner.sample:
            raise ValueError(
                f"{type(learner).__name__} cannot draw samples; generative replay needs a learner "
                "with sample(conditions, generator=...), such as a conditional flow"
            )
        if len(task.train) < 2:
            raise ValueError(
                f"task {task.index} ({task.name}) has inputs only; generative replay draws inputs "
                "for conditions: give each sample at least one further column"
            )
        super().begin_task(learner, task)
        if self.teacher:
            self.teacher.follow(learner)
        else:
            check_copyable(learner)

    def kept(self, learner: ContinualLearner, samples: Batch) -> Batch:
        """Return the conditions."""
        return samples[1:]

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        if not self.teacher:
            return batch

        def with_inputs(remembered: Batch) -> Batch:
            conditions = tuple(t.to(batch[0].device) for t in remembered)
            return (self.teacher.sample(conditions, generator=self.generator), *conditions)

        size = draw_size(self.replay_size, batch)
        return joined(batch, self.memory.sample_completed(size, with_inputs))

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        super().end_task(learner, task)
        self.teacher.copy_of(learner)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.teacher.load_state_dict(state["teacher"], learner)
