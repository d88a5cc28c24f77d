"""Maximally interfered retrieval: replay what the next step would harm most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.task import Batch, joined, sent
from insituml.gradients import evaluation_mode
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

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        if not self.remembers():
            return batch
        size = draw_size(self.replay_size, batch)
        rows = self.memory.draw(max(self.candidates or 4 * size, size))
        own = self.memory.owned(rows)
        drawn = tuple(sent(t, batch[0].device) for t in self.memory.read(rows[own]))
        if len(rows) > size:
            harm = self.interference(learner, batch, drawn)
            many = ranks.size() > 1
            most = _most_of_all(harm, own, size) if many else harm.topk(size).indices
            drawn = tuple(t[most.to(t.device)] for t in drawn)
        return joined(batch, drawn)

    def interference(self, learner: ContinualLearner, batch: Batch, samples: Batch) -> Tensor:
        """Return by how much a step on ``batch`` alone would raise each sample's loss, ``(n,)``."""
        weights = self._after_virtual_step(learner, batch)
        if len(samples[0]) == 0:
            return samples[0].new_zeros(0)
        after = sample_losses(learner, samples, weights, batched=self.batched)
        return after - sample_losses(learner, samples, batched=self.batched)

    def _after_virtual_step(self, learner: ContinualLearner, batch: Batch) -> dict[str, Tensor]:
        weights = {name: p for name, p in learner.named_parameters() if p.requires_grad}
        with evaluation_mode(learner):
            count = len(batch[0])
            if count or ranks.size() == 1:
                # Not backward(): the gradients of the real step are not to be touched.
                gradients = torch.autograd.grad(
                    learner.loss(batch),
                    list(weights.values()),
                    allow_unused=True,
                    materialize_grads=True,
                )
            else:
                gradients = tuple(torch.zeros_like(p) for p in weights.values())
        if ranks.size() > 1:
            torch._foreach_mul_(gradients, count / ranks.total(count))
            ranks.add_up(gradients)
        with torch.no_grad():
            moved = torch._foreach_add(
                list(weights.values()), list(gradients), alpha=-self.virtual_rate
            )
        return dict(zip(weights, moved, strict=True))


def _most_of_all(own_values: Tensor, own: Tensor, size: int) -> Tensor:
    """Return which of this rank's values are among the largest of all ranks, largest first."""
    mine = own.nonzero().flatten()
    values = torch.zeros(len(own), dtype=torch.float64, device=own_values.device)
    values[mine.to(values.device)] = own_values.double()
    ranks.add_up([values])
    most = values.topk(size).indices.cpu()
    places = torch.empty(len(own), dtype=torch.int64)
    places[mine] = torch.arange(len(mine))
    return places[most[own[most]]]
