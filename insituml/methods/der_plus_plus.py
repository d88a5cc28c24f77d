"""Dark experience replay with the samples' own loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.estimates import mean_over
from insituml.learner import ContinualLearner
from insituml.memory import Memory, ReservoirMemory
from insituml.methods.der import DER


class DERPlusPlus(DER):
    """DER, plus ``beta`` times the learner's loss on another draw from the memory.

    Parameters
    ----------
    memory_size, replay_size, alpha, memory, batched, generator
        As in :class:`~insituml.methods.DER`; each of the two draws has ``replay_size`` samples.
    beta
        Weight of the learner's loss on stored samples, 0 or more.

    Raises
    ------
    ValueError
        If ``beta`` is negative, and as in :class:`~insituml.methods.DER`.

    References
    ----------
    Buzzega et al., "Dark experience for general continual learning: a strong, simple baseline",
    NeurIPS 2020, eq. 6.
    """

    def __init__(
        self,
        memory_size: int | None,
        replay_size: int | None = None,
        alpha: float = 0.5,
        beta: float = 0.5,
        memory: Callable[..., Memory] = ReservoirMemory,
        batched: bool = True,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(memory_size, replay_size, alpha, memory, batched, generator=generator)
        if beta < 0:
            raise ValueError(f"beta is {beta}; expected 0 or more")
        self.beta = beta

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        distance = super().penalty(learner, batch, output)
        past = None if distance is None else self.draw(batch)
        if distance is None or past is None:
            return None
        return distance + self.beta * mean_over(past[:-1], learner.loss).to(distance.device)
