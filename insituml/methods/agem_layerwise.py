"""Layer-wise averaged gradient episodic memory."""

from __future__ import annotations

from torch import Tensor

from insituml.gradients import project_layerwise
from insituml.methods.gradient_projection import GradientProjection


class AGEMLayerwise(GradientProjection):
    """A-GEM with a projection for each parameter tensor by itself.

    Layers that agree with the past keep their full gradient, layers that conflict are corrected
    even where the whole gradient would not be.

    Parameters as in :class:`~insituml.methods.gradient_projection.GradientProjection`.
    """

    def project(self, gradients: list[Tensor], references: list[list[Tensor]]) -> None:
        project_layerwise(gradients, references[0])
