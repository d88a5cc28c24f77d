"""Experience replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from insituml.data.task import Batch, Task, joined
from insituml.learner import ContinualLearner
from insituml.memory import Memory, ReservoirMemory
from insituml.methods.base import Method
from insituml.methods.encoding import encoded, features, losses
from insituml.reconstruction_loss import latent_loss


class ExperienceReplay(Method):
    """Join each batch with samples from a memory of everything seen so far.

    Parameters
    ----------
    memory_size
        Samples in the memory; None: ``memory`` says how many bytes it may have.
    replay_size
        Samples replayed with each batch; None: as many as the batch has.
    memory
        Makes the memory from ``memory_size`` and ``generator``: one of the kinds in
        :mod:`insituml.memory`, as ``functools.partial(LossAwareMemory, exponent=2.0)``.
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
        super().__init__(generator=generator)
        if replay_size is not None and replay_size < 1:
            raise ValueError(f"replay_size is {replay_size}; expected 1 or more, or null")
        if store not in ("input", "latent"):
            raise ValueError(f"store is {store!r}; expected input or latent")
        if latent_weight <= 0:
            raise ValueError(f"latent_weight is {latent_weight}; expected a positive weight")
        size = () if memory_size is None else (memory_size,)
        self.memory = memory(*size, generator=generator)
        self.replay_size = replay_size
        self.store = store
        self.latent_weight = latent_weight
        self.batched = batched
        self.task = 0

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        self.task = task.index

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        if self.store == "latent" or not self._remembers():
            return batch
        return joined(batch, self._drawn(batch))

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if self.store == "input" or not self._remembers():
            return None
        (latent,) = self._drawn(batch)
        device = next(learner.parameters()).device
        latent = latent.to(device, non_blocking=latent.is_pinned())
        return self.latent_weight * latent_loss(learner, latent, mse_loss)

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        if self.store == "input":
            needed = self._losses(learner, batch)
            self.memory.add(batch, self.task, needed)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        if self.store == "latent":
            latent = encoded(learner, task.train[0])
            needed = self._losses(learner, task.train)
            self.memory.add((latent,), task.index, needed)
            self.memory.finish_task((latent,), task.index, latent)
        else:
            described = features(learner, task.train) if self.memory.needs_features else None
            self.memory.finish_task(task.train, task.index, described)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "memory": self.memory.state_dict(), "task": self.task}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.memory.load_state_dict(state["memory"])
        self.task = state["task"]

    def _remembers(self) -> bool:
        # During the first task there is nothing to remember.
        return self.task > 0 and len(self.memory) > 0

    def _losses(self, learner: ContinualLearner, samples: Batch) -> Tensor | None:
        if not self.memory.needs_losses:
            return None
        return losses(learner, samples, batched=self.batched)

    def _drawn(self, batch: Batch) -> Batch:
        return self.memory.sample(self.replay_size or len(batch[0]))
