"""The mathematics of continual learning as functions on tensors."""

from insituml.gradients.cone import project_onto_cone
from insituml.gradients.graph import parameter_uses
from insituml.gradients.growth import grown, old_part, wide_copy
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
from insituml.gradients.module import (
    dense_gradients,
    evaluation_mode,
    moving_parameters,
    trainable_parameters,
)
from insituml.gradients.penalty import QuadraticPenalty
from insituml.gradients.per_sample import per_sample_losses
from insituml.gradients.precision import as_real, wide, wide_dtype
from insituml.gradients.projection import project, project_layerwise
from insituml.gradients.reference import reference_gradient
from insituml.gradients.sample_loop import plain_gradients
from insituml.gradients.subspace import condensed, extended_basis
from insituml.gradients.unchanged import unchanged

__all__ = [
    "KroneckerPenalty",
    "QuadraticPenalty",
    "as_real",
    "condensed",
    "dense_gradients",
    "diagonal_fisher",
    "evaluation_mode",
    "extended_basis",
    "forward_statistics",
    "grown",
    "in_block",
    "is_transposed",
    "kronecker_fisher",
    "mean_gradient_power",
    "moving_parameters",
    "nearest_kronecker",
    "old_part",
    "parameter_name",
    "parameter_uses",
    "per_sample_losses",
    "plain_gradients",
    "project",
    "project_layerwise",
    "project_onto_cone",
    "reference_gradient",
    "supported_layers",
    "trainable_parameters",
    "unchanged",
    "wide",
    "wide_copy",
    "wide_dtype",
]
