"""Maximally interfered retrieval: replay what the next step would harm most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch, joined, sent
from insituml.estimates import largest
from insituml.gradients import evaluation_mode, reference_gradient
from insituml.learner import ContinualLearner, sample_losses
from insituml.memory import Memory, ReservoirMemory
from insituml.methods.experience_replay import ExperienceReplay
from insituml.methods.sampling import draw_size


class MIR(ExperienceReplay):
    """Replay those stored samples whose loss a step on the new batch alone would raise most.

    The step is virtual, ``θ − virtual_rate · ∇L(batch)``. Losses and gradient are those of
    ``eval`` mode: nothing of the learner changes, and no sample's loss depends on its neighbours.

    Parameters
    ----------
    memory_size, replay_size, memory, generator
        As in :class:`~insituml.methods.ExperienceReplay`.
    candidates
        Samples drawn from the memory to choose from; None: four times as many as are replayed.
    virtual_rate
        Learning rate of the virtual step, above 0. Near the optimizer's own for SGD; larger for
        Adam, which moves parameters by its rate however small their gradient.
    batched
        Evaluate the candidates' losses by ``vmap``; False takes them one by one, for losses that
        ``vmap`` cannot batch.

    Raises
    ------
    ValueError
        If a size is below 1, there are fewer candidates than ``replay_size``, or ``virtual_rate``
        is not positive.

    References
    ----------
    Aljundi et al., "Online continual learning with maximally interfered retrieval", NeurIPS 2019,
    criterion MI-1.
    """

    def __init__(
        self,
        memory_size: int | None,
        replay_size: int | None = None,
        candidates: int | None = None,
        virtual_rate: float = 0.1,
        batched: bool = True,
        memory: Callable[..., Memory] = ReservoirMemory,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(memory_size, replay_size, memory, batched=batched, generator=generator)
        if candidates is not None and candidates < (replay_size or 1):
            raise ValueError(
                f"candidates is {candidates}; expected at least the {replay_size or 1} replayed"
            )
        if virtual_rate <= 0:
            raise ValueError(f"virtual_rate is {virtual_rate}; expected a learning rate above 0")
        self.candidates = candidates
        self.virtual_rate = virtual_rate
        self.learns_sharded = False

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        if not self.remembers():
            return batch
        size = draw_size(self.replay_size, batch)
        rows = self.memory.draw(max(self.candidates or 4 * size, size))
        drawn = tuple(sent(t, batch[0].device) for t in self.memory.read(rows))
        if len(rows) > size:
            most = largest(self.interference(learner, batch, drawn), size)
            drawn = tuple(t[most.to(t.device)] for t in drawn)
        return joined(batch, drawn)

    def interference(self, learner: ContinualLearner, batch: Batch, samples: Batch) -> Tensor:
        """Return by how much a step on ``batch`` alone would raise each sample's loss, ``(n,)``."""
        weights = self._after_virtual_step(learner, batch)
        after = sample_losses(learner, samples, weights, batched=self.batched)
        return after - sample_losses(learner, samples, batched=self.batched)

    def _after_virtual_step(self, learner: ContinualLearner, batch: Batch) -> dict[str, Tensor]:
        weights = {name: p for name, p in learner.named_parameters() if p.requires_grad}
        parameters: list[Any] = list(weights.values())
        with evaluation_mode(learner):
            _, gradients = reference_gradient(learner.loss, parameters, [batch])
        gradients = [g.to(p.dtype) for g, p in zip(gradients, parameters, strict=True)]
        with torch.no_grad():
            moved = torch._foreach_add(parameters, gradients, alpha=-self.virtual_rate)
        return dict(zip(weights, moved, strict=True))
