"""Stochastic gradient episodic memory."""

from __future__ import annotations

from torch import Tensor

from insituml.data.task import Batch
from insituml.gradients import project
from insituml.methods.gradient_projection import GradientProjection


class SGEM(GradientProjection):
    """Project against the gradient on one past task, chosen at random at every step.

    Parameters as in :class:`~insituml.methods.gradient_projection.GradientProjection`.

    References
    ----------
    Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019, section 4 (stochastic
    GEM).
    """

    def reference_data(self) -> Batch:
        return self.memory.reference_of_one_task()

    def project(self, gradients: list[Tensor], reference: list[Tensor]) -> None:
        project(gradients, reference)
