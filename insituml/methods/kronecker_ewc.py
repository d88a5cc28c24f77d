"""Kronecker-factored EWC, the online Laplace approximation."""

from __future__ import annotations

import torch

from insituml.data.task import Task
from insituml.estimates import draw
from insituml.gradients import KroneckerPenalty, kronecker_fisher
from insituml.learner import ContinualLearner
from insituml.methods.anchored import Anchored
from insituml.methods.sampling import check_sample_count


class KroneckerEWC(Anchored[KroneckerPenalty]):
    """Tie the weights to their last values by a Fisher information that knows correlations.

    The loss is ``L + strength/2 (θ − θ*)ᵀ F (θ − θ*)`` with one Kronecker product ``A ⊗ G`` per
    linear or convolutional layer, and the diagonal for other parameters. After each task the
    anchor θ* moves to the newest weights and F becomes the Kronecker product nearest to
    ``γ F + F_new``: cost and memory do not grow with the number of tasks.

    A layer of m inputs (patch entries) and n outputs keeps m² + n² numbers, and a step costs
    m n (m + n) more operations; layers wider than ``max_width`` take the diagonal, as in EWC.

    Parameters
    ----------
    strength
        λ, 0 or more.
    gamma
        Decay γ in [0, 1]; 1 forgets no task's importance.
    fisher_samples
        Samples of each task the Fisher information is estimated from; None: all.
    chunk_size
        Per-sample gradients held at once for the diagonal of parameters without a closed form; 1
        for layers and losses ``vmap`` cannot batch.
    max_width
        Most inputs or outputs of a layer that gets a Kronecker product; None: any number.
    generator
        Chooses the samples for the Fisher information.

    Raises
    ------
    ValueError
        If ``strength`` is negative, ``gamma`` outside [0, 1], or ``fisher_samples`` or
        ``max_width`` below 1.

    References
    ----------
    Ritter, Botev & Barber, "Online structured Laplace approximations for overcoming catastrophic
    forgetting", NeurIPS 2018. They add up the factors; the nearest product is closer to the sum.
    """

    form = KroneckerPenalty

    def __init__(
        self,
        strength: float,
        gamma: float = 1.0,
        fisher_samples: int | None = None,
        chunk_size: int = 16,
        max_width: int | None = 4096,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(strength, generator=generator)
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(f"gamma is {gamma}; expected a decay between 0 and 1")
        check_sample_count("fisher_samples", fisher_samples)
        if max_width is not None and max_width < 1:
            raise ValueError(f"max_width is {max_width}; expected 1 or more, or None")
        self.gamma = gamma
        self.fisher_samples = fisher_samples
        self.chunk_size = chunk_size
        self.max_width = max_width

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        samples = draw(task.train, self.fisher_samples, generator=self.generator)
        fisher = kronecker_fisher(
            learner,
            lambda model, batch: model.loss(batch),  # type: ignore[operator]
            samples,
            chunk_size=self.chunk_size,
            max_width=self.max_width,
        )
        self.watch_unused(fisher.diagonal)
        self.move_anchor(learner, fisher, self.gamma)
