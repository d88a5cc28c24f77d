"""In what numbers gradients are squared, added up and projected, whatever the model's own are."""

from __future__ import annotations

import torch
from torch import Tensor


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the real dtype to accumulate in: float32 at least, float64 where it is that already.

    Half-precision squares underflow below 2.4e-4 and overflow above 256.
    """
    return torch.promote_types(dtype.to_real(), torch.float32)


def as_real(tensor: Tensor) -> Tensor:
    """Return a complex tensor as a view ``(..., 2)`` of two real ones, any other as it is."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def wide(tensor: Tensor) -> Tensor:
    """Return real numbers of float32 at least; the tensor's own memory where these are its own."""
    real = as_real(tensor)
    return real.to(wide_dtype(real.dtype))


def raised(gradient: Tensor, power: int) -> Tensor:
    """Return ``|g|^power``, real, of float32 at least; power is 1 or 2."""
    if gradient.is_complex():
        magnitude = wide(gradient).square().sum(-1)
        return magnitude if power == 2 else magnitude.sqrt()
    values = wide(gradient)
    return values.square() if power == 2 else values.abs()
