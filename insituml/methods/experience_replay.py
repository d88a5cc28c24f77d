"""Experience replay."""

from __future__ import annotations

from typing import Any

import torch

from insituml.data.task import Batch, Task, joined
from insituml.learner import ContinualLearner
from insituml.memory import ReservoirMemory
from insituml.methods.base import Method


class ExperienceReplay(Method):
    """Join each batch with samples from a reservoir of everything seen so far.

    Parameters
    ----------
    memory_size
        Samples in the reservoir.
    replay_size
        Samples replayed with each batch; None: as many as the batch has.
    generator
        Chooses the samples stored and replayed.

    Raises
    ------
    ValueError
        If a size is below 1.

    References
    ----------
    Chaudhry et al., "On tiny episodic memories in continual learning", 2019.
    """

    def __init__(
        self, memory_size: int, replay_size: int | None = None, *, generator: torch.Generator
    ) -> None:
        super().__init__(generator=generator)
        if replay_size is not None and replay_size < 1:
            raise ValueError(f"replay_size is {replay_size}; expected 1 or more, or null")
        self.memory = ReservoirMemory(memory_size, generator=generator)
        self.replay_size = replay_size
        self.task = 0

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        self.task = task.index

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        # During the first task there is nothing to remember.
        if self.task == 0 or len(self.memory) == 0:
            return batch
        return joined(batch, self.memory.sample(self.replay_size or len(batch[0])))

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        self.memory.add(batch, self.task)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "memory": self.memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.memory.load_state_dict(state["memory"])
