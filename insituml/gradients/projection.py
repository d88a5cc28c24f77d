"""Gradient projection: remove what would raise the loss on past tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

from insituml.gradients.precision import as_real, wide


def dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Inner product of two lists of tensors taken as one long vector each."""
    # Not torch.dot: its last bits depend on where in memory the tensors lie.
    return (flat(left) * flat(right)).sum()


def project(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> None:
    """A-GEM's projection, in place: ``g ← g − min(g·r, 0) / (r·r) · r``.

    Nothing changes where g·r ≥ 0, nor for a zero reference. There is no branch on the value, so
    the device is never waited for. Products are those of float32 at least.

    Parameters
    ----------
    gradients
        Gradients of the new task, one tensor a parameter; overwritten. Complex ones count as two
        real ones.
    reference
        Gradients of the loss on past tasks, likewise.

    References
    ----------
    Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019, eq. 11.
    """
    if not gradients:
        return
    numbers = [wide(g) for g in gradients]
    reference = _beside(numbers, [wide(r) for r in reference])
    new, past = flat(numbers), flat(reference)
    conflict = _conflict((new * past).sum(), (past * past).sum())
    _subtract(numbers, reference, [conflict] * len(numbers))
    _write_back(gradients, numbers)


def project_layerwise(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> None:
    """A-GEM's projection for each parameter by itself, in place.

    Layers that agree with the past keep their full gradient though another layer conflicts.
    """
    if not gradients:
        return
    numbers = [wide(g) for g in gradients]
    reference = _beside(numbers, [wide(r) for r in reference])
    first = [numbers[0]] * len(numbers)
    products, squares = (
        _stacked(_beside(first, [part.sum() for part in torch._foreach_mul(left, reference)]))
        for left in (numbers, reference)
    )
    _subtract(numbers, reference, _conflict(products, squares).unbind())
    _write_back(gradients, numbers)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return all tensors as one long vector on the first one's device."""
    device = tensors[0].device
    parts = [t if t.device == device else t.to(device) for t in tensors]
    return _flatten_dense_tensors(_alike(parts))


def _alike(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return all in the widest of their types."""
    kinds = {t.dtype for t in tensors}
    if len(kinds) == 1:
        return list(tensors)
    return [t.to(reduce(torch.promote_types, kinds)) for t in tensors]


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(_alike(tensors))


def _beside(gradients: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return each tensor on the device of its gradient."""
    # Comparing the devices takes a quarter of a call of to() that does nothing.
    return [
        t if t.device == g.device else t.to(g.device)
        for t, g in zip(tensors, gradients, strict=True)
    ]


def _conflict(product: Tensor, squared_norm: Tensor) -> Tensor:
    # The floor makes 0/0 of a zero reference 0 and leaves every other quotient as it is.
    floor = torch.finfo(squared_norm.dtype).tiny
    return product.clamp(max=0) / squared_norm.clamp(min=floor)


def _subtract(
    gradients: Sequence[Tensor], reference: list[Tensor], factors: Sequence[Tensor]
) -> None:
    factors = [f.to(g.dtype) for f, g in zip(_beside(gradients, factors), gradients, strict=True)]
    torch._foreach_addcmul_(list(gradients), reference, factors, value=-1)


def _write_back(gradients: Sequence[Tensor], numbers: Sequence[Tensor]) -> None:
    """Copy what was computed in other numbers than the gradients' own."""
    for gradient, number in zip(gradients, numbers, strict=True):
        real = as_real(gradient)
        if number.dtype != real.dtype:
            real.copy_(number)
