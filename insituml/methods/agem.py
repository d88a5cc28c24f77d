"""Averaged gradient episodic memory."""

from __future__ import annotations

from torch import Tensor

from insituml.data.task import Batch
from insituml.gradients import project
from insituml.methods.gradient_projection import GradientProjection


class AGEM(GradientProjection):
    """Project against the gradient on a random sample of the whole memory.

    Parameters as in :class:`~insituml.methods.gradient_projection.GradientProjection`.

    References
    ----------
    Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019.
    """

    def reference_data(self) -> Batch:
        return self.memory.reference()

    def project(self, gradients: list[Tensor], reference: list[Tensor]) -> None:
        project(gradients, reference)
