"""What the A-GEM family shares: a memory, a reference gradient and a projection."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml.data.task import Batch, Task
from insituml.gradients import gradients_of, reference_gradient, trainable_parameters
from insituml.learner import ContinualLearner
from insituml.memory import EpisodicMemory
from insituml.methods.base import Method
from insituml.methods.encoding import BATCH, encoded
from insituml.reconstruction_loss import latent_loss


class GradientProjection(Method):
    """Abstract: correct each gradient that would raise the loss on stored samples of past tasks.

    A subclass says which samples make the reference gradient and how to project.

    Parameters
    ----------
    memory_size
        Samples stored in all.
    total_tasks
        Tasks that share the memory; a further one evicts the oldest.
    reference_size
        Samples drawn for each reference gradient; 0: all that is stored.
    store
        ``"input"``: samples as they are. ``"latent"``: their latents at the end of their task,
        much smaller; the reference loss is then that of ``encode(decode(z))`` against z.
    latent_weight
        With latent storage, weight of the latent loss of replayed latents in the training loss,
        beside the projection; 0 (the default) leaves the projection alone. (As a factor of the
        reference loss it would do nothing: a projection knows the direction only.)
    generator
        Chooses the samples stored and drawn.

    Raises
    ------
    ValueError
        If ``store`` is unknown or ``latent_weight`` does not fit it, and as in
        :class:`~insituml.memory.EpisodicMemory`.
    """

    def __init__(
        self,
        memory_size: int,
        total_tasks: int,
        reference_size: int = 0,
        store: str = "input",
        latent_weight: float = 0.0,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        if store not in ("input", "latent"):
            raise ValueError(f"store is {store!r}; expected input or latent")
        if latent_weight < 0 or (latent_weight > 0 and store == "input"):
            raise ValueError(
                f"latent_weight is {latent_weight} with store={store}; expected 0, or a positive "
                "weight with store=latent"
            )
        self.memory = EpisodicMemory(memory_size, total_tasks, reference_size, generator=generator)
        self.store = store
        self.latent_weight = latent_weight
        self._parameters: list[nn.Parameter] = []

    def reference_data(self) -> Batch:
        """Return the stored samples of past tasks to compare with."""
        raise NotImplementedError

    def project(self, gradients: list[Tensor], reference: list[Tensor]) -> None:
        """Correct ``gradients`` in place."""
        raise NotImplementedError

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        # Once a task: a walk through the modules takes as long as drawing the samples.
        self._parameters = trainable_parameters(learner)

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if self.latent_weight == 0 or len(self.memory) == 0:
            return None
        latent = self.reference_data()[0].to(next(learner.parameters()).device)
        return self.latent_weight * latent_loss(learner, latent, mse_loss)

    def correct_gradients(self, learner: ContinualLearner) -> None:
        if len(self.memory) == 0:
            return
        parameters = self._parameters or trainable_parameters(learner)
        device = parameters[0].device
        data = tuple(t.to(device) for t in self.reference_data())
        batches: Iterable[Batch] = [data]
        if len(data[0]) > BATCH:
            batches = zip(*(t.split(BATCH) for t in data), strict=True)
        _, reference = reference_gradient(
            partial(self.reference_loss, learner), parameters, batches
        )
        self.project(gradients_of(parameters), reference)

    def reference_loss(self, learner: ContinualLearner, batch: Batch) -> Tensor:
        """Return the loss on stored samples."""
        if self.store == "latent":
            return latent_loss(learner, batch[0], mse_loss)
        return learner.loss(batch)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        samples = task.train
        if self.store == "latent":
            samples = (encoded(learner, samples[0]), *samples[1:])
        self.memory.store_task(samples)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "memory": self.memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self._parameters = []
        self.memory.load_state_dict(state["memory"])
