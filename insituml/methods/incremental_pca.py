"""The baseline without gradients: one pass of an incremental principal component analysis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.methods.base import Method


class IncrementalPCA(Method):
    """Let a learner observe each sample once, and do nothing else.

    It is for :class:`~insituml.models.PrincipalComponents`, whose decomposition of all samples so
    far is the memory: it does not grow with the stream, and nothing needs to be stored against
    forgetting.

    Parameters
    ----------
    learner
        Makes the learner, which a pipeline trains in place of the model that it compares; None:
        whoever trains has one.
    generator
        As for every method; nothing is drawn.
    """

    learns_by_gradient = False
    is_baseline = True
    keeps_to_budget = False  # one pass, as many samples as there are

    def __init__(
        self,
        learner: Callable[[], ContinualLearner] | None = None,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        self.make_learner = learner
        self._state_bytes = 0

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        if type(learner).observe is ContinualLearner.observe:
            raise ValueError(
                f"{type(learner).__name__} does not define observe(batch), so it would learn "
                "nothing; IncrementalPCA is for a learner such as PrincipalComponents"
            )

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        self._state_bytes = sum(buffer.nbytes for buffer in learner.buffers())

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "state_bytes": self._state_bytes}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self._state_bytes = state["state_bytes"]

    def memory_bytes(self) -> int:
        """Return the size of the decomposition that goes on from task to task, the basis aside."""
        return self._state_bytes
