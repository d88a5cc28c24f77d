"""The mathematics of continual learning as functions on tensors."""

from insituml.gradients.cone import project_onto_cone
from insituml.gradients.importance import diagonal_fisher, mean_gradient_power
from insituml.gradients.kronecker import kronecker_fisher, nearest_kronecker
from insituml.gradients.kronecker_penalty import KroneckerPenalty
from insituml.gradients.layer_statistics import (
    forward_statistics,
    in_block,
    is_transposed,
    parameter_name,
    supported_layers,
)
from insituml.gradients.module import evaluation_mode, gradients_of, trainable_parameters
from insituml.gradients.penalty import QuadraticPenalty
from insituml.gradients.per_sample import per_sample_losses
from insituml.gradients.projection import project, project_layerwise
from insituml.gradients.reference import reference_gradient
from insituml.gradients.subspace import condensed, extended_basis

__all__ = [
    "KroneckerPenalty",
    "QuadraticPenalty",
    "condensed",
    "diagonal_fisher",
    "evaluation_mode",
    "extended_basis",
    "forward_statistics",
    "gradients_of",
    "in_block",
    "is_transposed",
    "kronecker_fisher",
    "mean_gradient_power",
    "nearest_kronecker",
    "parameter_name",
    "per_sample_losses",
    "project",
    "project_layerwise",
    "project_onto_cone",
    "reference_gradient",
    "supported_layers",
    "trainable_parameters",
]
