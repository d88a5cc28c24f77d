"""Averaged gradient episodic memory."""

from __future__ import annotations

from torch import Tensor

from insituml.gradients import project
from insituml.methods.gradient_projection import GradientProjection


class AGEM(GradientProjection):
    """Project against the gradient on a random sample of the whole memory.

    Parameters as in :class:`~insituml.methods.gradient_projection.GradientProjection`.

    References
    ----------
    Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019.
    """

    def project(self, gradients: list[Tensor], references: list[list[Tensor]]) -> None:
        project(gradients, references[0])
