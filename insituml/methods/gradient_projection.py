"""What the A-GEM family shares: a memory, reference gradients and a projection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml.data.task import Batch, Task, sent
from insituml.estimates import mean_over
from insituml.gradients import (
    dense_gradients,
    moving_parameters,
    reference_gradient,
)
from insituml.learner import ContinualLearner
from insituml.memory import EpisodicMemory, Memory
from insituml.methods.encoding import BATCH
from insituml.methods.remembering import Remembering
from insituml.reconstruction_loss import latent_loss


class GradientProjection(Remembering):
    """Abstract: correct each gradient that would raise the loss on stored samples of past tasks.

    A subclass says which samples make the reference gradients and how to project.

    Parameters
    ----------
    memory_size
        Samples stored in all; None: ``memory`` says how many bytes.
    total_tasks
        Tasks that share the memory; a further one evicts the oldest. Without effect with another
        kind than the default.
    reference_size
        Samples drawn for each reference gradient; 0: all that is stored.
    store
        ``"input"``: samples as they are. ``"latent"``: their latents at the end of their task,
        much smaller; the reference loss is then that of ``encode(decode(z))`` against z.
    latent_weight
        With latent storage, weight of the latent loss of replayed latents in the training loss,
        beside the projection; 0 (the default) leaves the projection alone. (As a factor of the
        reference loss it would do nothing: a projection knows the direction only.)
    memory
        Makes the memory, as in :class:`~insituml.methods.ExperienceReplay`; by default equal
        shares for all tasks. Samples of the task that is being learned are left out.
    batched
        As in :class:`~insituml.methods.ExperienceReplay`.
    generator
        Chooses the samples stored and drawn.

    Raises
    ------
    ValueError
        If ``reference_size`` is negative, ``store`` is unknown or ``latent_weight`` does not fit
        it, and as in the memory.
    """

    def __init__(
        self,
        memory_size: int | None,
        total_tasks: int | None = None,
        reference_size: int = 0,
        store: str = "input",
        latent_weight: float = 0.0,
        memory: Callable[..., Memory] = EpisodicMemory,
        batched: bool = True,
        *,
        generator: torch.Generator,
    ) -> None:
        if total_tasks is not None:
            memory = partial(memory, total_tasks=total_tasks)
        super().__init__(memory_size, memory, store, batched, generator=generator)
        if reference_size < 0:
            raise ValueError(f"reference_size is {reference_size}; expected 0 (all) or more")
        if latent_weight < 0 or (latent_weight > 0 and store == "input"):
            raise ValueError(
                f"latent_weight is {latent_weight} with store={store}; expected 0, or a positive "
                "weight with store=latent"
            )
        self.reference_size = reference_size
        self.latent_weight = latent_weight
        self._parameters: list[nn.Parameter] = []

    def reference_data(self) -> Iterable[Batch]:
        """Return the samples of past tasks to compare with, one batch for each reference."""
        past = self.past(self.reference_size or None)
        return () if past is None else (past,)

    def project(self, gradients: list[Tensor], references: list[list[Tensor]]) -> None:
        """Correct ``gradients`` in place; the references, one or more, are of the same form."""
        raise NotImplementedError

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        super().begin_task(learner, task)
        # Once a task: a walk through the modules takes as long as drawing the samples.
        self._parameters = list(learner.parameters())

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if self.latent_weight == 0:
            return None
        latents = [data[0] for data in self._stored_on(next(learner.parameters()).device)]
        if not latents:
            return None
        loss = partial(self.reference_loss, learner)
        return self.latent_weight * mean_over((torch.cat(latents),), loss)

    def correct_gradients(self, learner: ContinualLearner) -> None:
        # Layers may have been frozen or thawed since the task began.
        parameters = [p for p in self._parameters or learner.parameters() if p.requires_grad]
        moving = moving_parameters(parameters)
        if not moving:
            return
        loss = partial(self.reference_loss, learner)
        kept = {id(p) for p in moving}
        references = []
        for data in self._stored_on(parameters[0].device):
            batches = zip(*(t.split(BATCH) for t in data), strict=True)
            _, found = reference_gradient(loss, parameters, batches)
            # What has no gradient stays where it is: it has no part in the products either.
            references.append([g for p, g in zip(parameters, found, strict=True) if id(p) in kept])
        if references:
            with dense_gradients(moving) as gradients:
                self.project(gradients, references)

    def reference_loss(self, learner: ContinualLearner, batch: Batch) -> Tensor:
        """Return the loss on stored samples."""
        if self.store == "latent":
            return latent_loss(learner, batch[0], mse_loss)
        return learner.loss(batch)

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self._parameters = []

    def _stored_on(self, device: torch.device) -> Iterator[Batch]:
        """Yield the reference data; none where nothing of past tasks is stored."""
        for data in self.reference_data() if self.remembers() else ():
            yield tuple(sent(t, device) for t in data)
