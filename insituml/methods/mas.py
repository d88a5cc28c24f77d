"""Memory aware synapses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from insituml.data.task import Batch, Task
from insituml.estimates import draw
from insituml.gradients import QuadraticPenalty, mean_gradient_power
from insituml.learner import ContinualLearner
from insituml.methods.anchored import Anchored
from insituml.methods.sampling import check_sample_count


class MAS(Anchored[QuadraticPenalty]):
    """Tie each parameter to its last value, by how much the learner's output depends on it.

    The importance is ``Ωᵢ = 1/N Σ_n |∂‖f(x_n)‖²/∂θᵢ|``, f being the learner's ``output``: no
    target and no loss enter. It adds up over tasks; the anchor is the weights after the last one.

    Parameters
    ----------
    strength
        λ in ``L + strength/2 Σᵢ Ωᵢ (θᵢ − θ*ᵢ)²``, 0 or more. (The paper writes λ without the ½.)
    importance_samples
        Samples of each task the importance is estimated from; None: all.
    chunk_size
        Per-sample gradients held at once where there is no closed form; 1 for layers and outputs
        ``vmap`` cannot batch.
    generator
        Chooses the samples for the importance.

    Raises
    ------
    ValueError
        If ``strength`` is negative or ``importance_samples`` below 1.

    References
    ----------
    Aljundi et al., "Memory Aware Synapses: Learning what (not) to forget", ECCV 2018, eq. 2–4.
    """

    form = QuadraticPenalty

    def __init__(
        self,
        strength: float,
        importance_samples: int | None = None,
        chunk_size: int = 16,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(strength, generator=generator)
        check_sample_count("importance_samples", importance_samples)
        self.importance_samples = importance_samples
        self.chunk_size = chunk_size

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        samples = draw(task.train, self.importance_samples, generator=self.generator)
        importance = mean_gradient_power(
            learner, _squared_norm, samples, 1, chunk_size=self.chunk_size
        )
        self.watch_unused(importance)
        self.move_anchor(learner, importance)


def _squared_norm(learner: nn.Module, batch: Batch) -> Tensor:
    """``‖f(x)‖²``, averaged over the batch."""
    output = learner.output(batch)  # type: ignore[operator]
    return output.square().sum() / len(output)
