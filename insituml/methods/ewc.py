"""Elastic weight consolidation."""

from __future__ import annotations

import torch
from torch import Tensor

from insituml.data.task import Task
from insituml.estimates import draw
from insituml.gradients import QuadraticPenalty, diagonal_fisher
from insituml.learner import ContinualLearner
from insituml.methods.anchored import Anchored
from insituml.methods.sampling import check_sample_count


class EWC(Anchored[QuadraticPenalty]):
    """Tie each parameter to its value after every past task, by its Fisher information.

    The loss is ``L + strength/2 Σₖ Σᵢ Fₖᵢ (θᵢ − θₖᵢ)²``: one anchor per task, at the cost of one.

    Parameters
    ----------
    strength
        λ, 0 or more.
    fisher_samples
        Samples of each task the Fisher information is estimated from; None: all.
    chunk_size
        Per-sample gradients held at once where there is no closed form; 1 for layers and losses
        ``vmap`` cannot batch.
    generator
        Chooses the samples for the Fisher information.

    Raises
    ------
    ValueError
        If ``strength`` is negative or ``fisher_samples`` below 1.

    References
    ----------
    Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017.
    """

    form = QuadraticPenalty

    def __init__(
        self,
        strength: float,
        fisher_samples: int | None = None,
        chunk_size: int = 16,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(strength, generator=generator)
        check_sample_count("fisher_samples", fisher_samples)
        self.fisher_samples = fisher_samples
        self.chunk_size = chunk_size

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        samples = draw(task.train, self.fisher_samples, generator=self.generator)
        fisher = diagonal_fisher(
            learner,
            lambda model, batch: model.loss(batch),  # type: ignore[operator]
            samples,
            chunk_size=self.chunk_size,
        )
        self.watch_unused(fisher)
        self.consolidate(learner, fisher)

    def consolidate(self, learner: ContinualLearner, fisher: dict[str, Tensor]) -> None:
        """Add an anchor where the parameters are, beside those of the tasks before."""
        parameters = dict(learner.named_parameters())
        if self.anchor is None:
            self.anchor = QuadraticPenalty.at_anchor(fisher, parameters)
        else:
            self.anchor = self.anchor.with_anchor(fisher, parameters)
