"""Experience replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from insituml.data.task import Batch, joined, sent
from insituml.estimates import mean_over
from insituml.learner import ContinualLearner
from insituml.memory import Memory, ReservoirMemory
from insituml.methods.remembering import Remembering
from insituml.methods.sampling import check_sample_count, draw_size
from insituml.reconstruction_loss import latent_loss


class ExperienceReplay(Remembering):
    """Join each batch with samples from a memory of everything seen so far.

    Parameters
    ----------
    memory_size
        Samples in the memory; None: ``memory`` says how many bytes it may have.
    replay_size
        Samples replayed with each batch; None: as many as the batch has.
    memory
        Makes the memory from ``memory_size`` and ``generator``: one of the kinds in
        :mod:`insituml.memory`, as ``functools.partial(LossAwareMemory, exponent=2.0)``; by default
        a uniform sample of the stream.
    store
        ``"input"``: samples as they are. ``"latent"``: their latents at the end of their task,
        much smaller. Then no batch is joined; the loss of ``encode(decode(z))`` against z is
        added for the latents drawn, and the memory is filled at the end of each task.
    latent_weight
        Weight of that loss; without effect with ``store="input"``.
    batched
        Evaluate losses for the memory by ``vmap``; False takes samples one by one, where ``vmap``
        cannot batch the loss.
    generator
        Chooses the samples stored and replayed.

    Raises
    ------
    ValueError
        If a size is below 1, ``store`` is unknown or ``latent_weight`` is not positive.

    References
    ----------
    Chaudhry et al., "On tiny episodic memories in continual learning", 2019.
    """

    def __init__(
        self,
        memory_size: int | None,
        replay_size: int | None = None,
        memory: Callable[..., Memory] = ReservoirMemory,
        store: Literal["input", "latent"] = "input",
        latent_weight: float = 1.0,
        batched: bool = True,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(memory_size, memory, store, batched, generator=generator)
        check_sample_count("replay_size", replay_size)
        if latent_weight <= 0:
            raise ValueError(f"latent_weight is {latent_weight}; expected a positive weight")
        self.replay_size = replay_size
        self.latent_weight = latent_weight
        self.learns_sharded = store == "input" and not self.memory.needs_losses
        self.encodes_at_end = self.memory.needs_features

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        if self.store == "latent" or not self.remembers():
            return batch
        return joined(batch, self._drawn(batch))

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if self.store == "input" or not self.remembers():
            return None
        device = next(learner.parameters()).device
        latents = tuple(sent(t, device) for t in self._drawn(batch))
        return self.latent_weight * mean_over(
            latents, lambda past: latent_loss(learner, past[0], mse_loss)
        )

    def _drawn(self, batch: Batch) -> Batch:
        return self.memory.sample(draw_size(self.replay_size, batch))
