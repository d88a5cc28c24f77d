"""Gradient projection: remove what would raise the loss on past tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Inner product of two lists of tensors taken as one long vector each."""
    device = left[0].device
    products = [torch.sum(a * b).to(device) for a, b in zip(left, right, strict=True)]
    return torch.stack(products).sum()


def project(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> None:
    """A-GEM's projection, in place: ``g ← g − min(g·r, 0) / (r·r) · r``.

    Nothing changes where g·r ≥ 0, nor for a zero reference. There is no branch on the value, so
    the device is never waited for.

    Parameters
    ----------
    gradients
        Gradients of the new task, one tensor a parameter; overwritten.
    reference
        Gradients of the loss on past tasks, likewise.

    References
    ----------
    Chaudhry et al., "Efficient Lifelong Learning with A-GEM", ICLR 2019, eq. 11.
    """
    reference = [past.to(g.device) for past, g in zip(reference, gradients, strict=True)]
    conflict = _conflict(dot(gradients, reference), dot(reference, reference))
    for gradient, past in zip(gradients, reference, strict=True):
        gradient.sub_(past * conflict.to(gradient.device))


def project_layerwise(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> None:
    """A-GEM's projection for each parameter by itself, in place.

    Layers that agree with the past keep their full gradient though another layer conflicts.
    """
    for gradient, past in zip(gradients, reference, strict=True):
        project([gradient], [past])


def _conflict(product: Tensor, squared_norm: Tensor) -> Tensor:
    # The floor makes 0/0 of a zero reference 0 and leaves every other quotient as it is.
    floor = torch.finfo(squared_norm.dtype).tiny
    return product.clamp(max=0) / squared_norm.clamp(min=floor)
