"""Kronecker-factored Fisher information."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from insituml import ranks
from insituml.gradients.importance import (
    batched_statistics,
    checked,
    mean_gradient_power,
    rows_of,
    trusted_layers,
)
from insituml.gradients.layer_statistics import (
    LayerCalls,
    in_block,
    is_transposed,
    parameter_name,
    supported_layers,
)
from insituml.gradients.module import LossOf, evaluation_mode
from insituml.gradients.precision import wide_dtype
from insituml.gradients.unchanged import unchanged


@dataclass(frozen=True)
class KroneckerBlock:
    """Precision of a matrix W: the quadratic form ``½ tr(ΔWᵀ rows ΔW columns)``.

    W is the layer's weight with all but its first dimension flattened; where ``columns`` is one
    larger than that, the bias is its last column.
    """

    rows: Tensor
    columns: Tensor


@dataclass(frozen=True)
class KroneckerFisher:
    """Blocks by layer name, and the diagonal of all other parameters by parameter name."""

    blocks: dict[str, KroneckerBlock]
    diagonal: dict[str, Tensor]


def kronecker_fisher(
    module: nn.Module,
    loss: LossOf,
    samples: Sequence[Tensor],
    *,
    chunk_size: int = 16,
    max_width: int | None = None,
) -> KroneckerFisher:
    """Approximate each layer's Fisher information by a Kronecker product.

    For a linear layer, with inputs x̃ (a 1 appended for the bias) and gradients g of a sample's
    loss by the outputs, ``F ≈ E[x̃ x̃ᵀ] ⊗ E[g gᵀ]``: exact where the two are independent. For a
    convolution x̃ are patches, and the places l of a sample count as
    ``E[Σ_l x̃_l x̃_lᵀ] ⊗ E[mean_l g_l g_lᵀ]``. A transposed convolution is the adjoint: its x are
    the input channels, its g patches of the output's gradient; its bias belongs to no single
    entry of these and takes the diagonal, as does every parameter of another kind.

    Parameters
    ----------
    module, loss, samples, chunk_size
        As in :func:`~insituml.gradients.mean_gradient_power`.
    max_width
        Layers whose matrix is taller or wider take the diagonal: a factor of width m holds m²
        numbers. None: none is too wide.

    Returns
    -------
    KroneckerFisher
        For every parameter that requires a gradient, on its device.

    Raises
    ------
    ValueError
        If there is no sample, ``chunk_size`` or ``max_width`` is below 1, or a gradient is NaN.

    References
    ----------
    Martens & Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature",
    ICML 2015, section 2; Grosse & Martens, "A Kronecker-factored approximate Fisher matrix for
    convolution layers", ICML 2016, theorem 1.
    """
    count = len(samples[0])
    joint_count = ranks.total(count)
    if joint_count == 0:
        raise ValueError("the Fisher information of 0 samples is undefined; pass at least one")
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; expected 1 or more")
    if max_width is not None and max_width < 1:
        raise ValueError(f"max_width is {max_width}; expected 1 or more, or None")
    blocks: dict[str, KroneckerBlock] = {}

    def add(name: str, calls: LayerCalls) -> None:
        added = _summed_block(calls)
        if name in blocks:
            blocks[name].rows.add_(added.rows)
            blocks[name].columns.add_(added.columns)
        else:
            blocks[name] = added

    rows = rows_of(module, samples)
    with evaluation_mode(module), unchanged(module) as restore:
        fitting = {
            n: x for n, x in supported_layers(module).items() if in_block(x) and _fits(x, max_width)
        }
        layers: dict[str, nn.Module] = {}
        if chunk_size > 1 and count > 1:
            trusted, size = trusted_layers(module, loss, rows(0, 2), restore)
            layers = {n: x for n, x in fitting.items() if n in trusted}
            chunks = range(0, count, size)
            layers = batched_statistics(module, loss, rows, chunks, layers, restore, add)
        # What a pass over many samples cannot tell, passes over one each can.
        single = {n: x for n, x in fitting.items() if n not in layers}
        for name in single:
            blocks.pop(name, None)
        for n in range(min(count, 2) if single else 0):
            trusted, _ = trusted_layers(module, loss, rows(n, n + 1), restore)
            single = {name: layer for name, layer in single.items() if name in trusted}
        layers |= batched_statistics(module, loss, rows, range(count), single, restore, add)
    if not count:  # on several ranks: what the others have
        layers, blocks = fitting, {name: _no_block(layer) for name, layer in fitting.items()}
    blocks = {name: block for name, block in blocks.items() if name in layers}
    blocks = {name: blocks[name] for name in _held_by_all(list(blocks))}
    ranks.add_up([factor for block in blocks.values() for factor in (block.rows, block.columns)])
    for block in blocks.values():
        block.rows.div_(joint_count)
        block.columns.div_(joint_count)
    for name, block in blocks.items():
        weight = parameter_name(name, "weight")
        checked({weight: block.rows}, module)
        checked({weight: block.columns}, module)
    held = {parameter_name(n, own) for n in blocks for own in in_block(layers[n])}
    others = {n for n, p in module.named_parameters() if p.requires_grad} - held
    diagonal = {}
    if others:
        diagonal = mean_gradient_power(
            module, loss, samples, 2, chunk_size=chunk_size, names=others
        )
    return KroneckerFisher(blocks, diagonal)


def _fits(layer: nn.Module, max_width: int | None) -> bool:
    weight = layer.get_parameter("weight")
    return max_width is None or max(len(weight), weight[0].numel()) <= max_width


def _held_by_all(names: list[str]) -> list[str]:
    """Return the layers, in one order, that have a block on every rank."""
    found = ranks.gathered_objects(names)
    return [name for name in found[0] if all(name in others for others in found)]


def _no_block(layer: nn.Module) -> KroneckerBlock:
    """Return the block of no sample."""
    weight = layer.get_parameter("weight")
    columns = weight[0].numel() + ("bias" in in_block(layer))
    empty = weight.new_zeros(0, dtype=wide_dtype(weight.dtype))
    return KroneckerBlock(
        empty.new_zeros(len(weight), len(weight)), empty.new_zeros(columns, columns)
    )


def _summed_block(calls: LayerCalls) -> KroneckerBlock:
    """Sum over the samples, not yet divided by their number."""
    inputs: Tensor | None = None
    gradients: Tensor | None = None
    for part in calls.parts():
        x, g = calls.input_matrix(part), calls.gradient_matrix(part)
        if "bias" in in_block(calls.layer):
            x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        # Gradients are averaged over places, inputs added up.
        added_inputs, added_gradients = _second_moment(x), _second_moment(g) / g.shape[2]
        inputs = added_inputs if inputs is None else inputs.add_(added_inputs)
        gradients = added_gradients if gradients is None else gradients.add_(added_gradients)
    assert inputs is not None
    assert gradients is not None
    if is_transposed(calls.layer):
        return KroneckerBlock(rows=inputs, columns=gradients)
    return KroneckerBlock(rows=gradients, columns=inputs)


def _second_moment(matrices: Tensor) -> Tensor:
    """``Σ_nl m_nl m_nlᵀ`` of ``(n, features, places)``."""
    flat = matrices.movedim(1, 0).flatten(1)
    return flat @ flat.mT


def nearest_kronecker(first: KroneckerBlock, second: KroneckerBlock) -> KroneckerBlock:
    """Return the Kronecker product closest to the sum of two, in the Frobenius norm.

    Rearranged, a Kronecker product of matrices is the outer product of two vectors, and the sum of
    two has rank 2: the closest product is its best approximation of rank 1, whose singular vectors
    lie in the spans of the factors. What remains is the leading eigenvector of a 2 × 2 matrix. Its
    entries are not negative for positive semi-definite factors, so the result is semi-definite.

    References
    ----------
    Van Loan & Pitsianis, "Approximation with Kronecker products", 1993, section 3.
    """
    rows = _inner_products(first.rows, second.rows)
    columns = _inner_products(first.columns, second.columns)
    # The rearranged sum is U Vᵀ, U and V holding two columns each. Its left singular vector U c
    # solves (VᵀV)(UᵀU) c = σ² c, and (U Vᵀ)ᵀ U c = V (UᵀU) c is σ times the right one.
    product = columns @ rows
    (a, b), (c, d) = product[0], product[1]
    largest = ((a + d) + torch.sqrt((a - d).square() + 4 * b * c)) / 2
    left = torch.stack([largest - d + b, largest - a + c])
    # For a multiple of the identity every direction is as good: keep the first product.
    fallback = torch.stack([torch.ones_like(a), torch.zeros_like(a)])
    left = torch.where(left.abs().sum() > 0, left, fallback)
    right = rows @ left
    norm = torch.sqrt((left @ right).clamp(min=torch.finfo(left.dtype).tiny))
    left, right = left / norm, right / norm
    # Share the scale evenly between the factors.
    scale = (right @ columns @ right).clamp(min=torch.finfo(left.dtype).tiny) ** 0.25
    return KroneckerBlock(
        _combined(left * scale, first.rows, second.rows),
        _combined(right / scale, first.columns, second.columns),
    )


def _combined(weights: Tensor, first: Tensor, second: Tensor) -> Tensor:
    weights = weights.to(first)
    return weights[0] * first + weights[1] * second


def _inner_products(first: Tensor, second: Tensor) -> Tensor:
    cross = (first * second).sum(dtype=torch.float64)
    return torch.stack(
        [
            torch.stack([first.square().sum(dtype=torch.float64), cross]),
            torch.stack([cross, second.square().sum(dtype=torch.float64)]),
        ]
    )
