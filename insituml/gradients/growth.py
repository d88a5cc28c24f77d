"""Parameters that have grown since something was learned of them: the old part comes first.

A head that gets more outputs, a layer that gets more inputs: the old entries are the leading ones
in each dimension, and of the new entries the past says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def old_part(name: str, parameter: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the part of a parameter that it consisted of when it had an older shape.

    Raises
    ------
    ValueError
        Naming the parameter, if it has fewer entries in some dimension, other dimensions, or
        another kernel: the dimensions after outputs and inputs.
    """
    old = tuple(shape)
    if parameter.shape == old:
        return parameter
    if (
        parameter.dim() != len(old)
        or parameter.shape[2:] != old[2:]
        or any(now < before for now, before in zip(parameter.shape, old, strict=True))
    ):
        raise ValueError(
            f"parameter {name} has shape {tuple(parameter.shape)}, but {old} in a past task; it "
            "may grow, its old entries coming first, but not shrink or get another kernel. Give a "
            "parameter that means something else another name, or start a new method"
        )
    return parameter[tuple(slice(size) for size in old)]


def grown(name: str, value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return what was kept of a parameter with its new shape, zero for its new entries.

    Raises
    ------
    ValueError
        As :func:`old_part`.
    """
    if value.shape == tuple(shape):
        return value
    result = value.new_zeros(tuple(shape))
    old_part(name, result, value.shape).copy_(value)
    return result


def wide_copy(parameter: Tensor) -> Tensor:
    """Return a detached copy, of float32 at least and still complex for a complex parameter."""
    kind = torch.promote_types(parameter.dtype, torch.float32)
    return parameter.detach().to(kind, copy=True)
