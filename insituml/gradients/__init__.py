"""The mathematics of continual learning as functions on tensors."""

from insituml.gradients.cone import project_onto_cone
from insituml.gradients.evaluation_mode import evaluation_mode
from insituml.gradients.fisher import diagonal_fisher
from insituml.gradients.importance import mean_gradient_power
from insituml.gradients.penalty import QuadraticPenalty
from insituml.gradients.per_sample import per_sample_losses
from insituml.gradients.projection import project, project_layerwise
from insituml.gradients.reference import reference_gradient

__all__ = [
    "QuadraticPenalty",
    "diagonal_fisher",
    "evaluation_mode",
    "mean_gradient_power",
    "per_sample_losses",
    "project",
    "project_layerwise",
    "project_onto_cone",
    "reference_gradient",
]
