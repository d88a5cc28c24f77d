"""Numbers in fewer bits: float16, or int8 with a scale of its own for each latent or channel."""

from __future__ import annotations

import torch
from torch import Tensor

STORAGES = ("float32", "float16", "int8")
"""What numbers can be kept as."""
LEVELS = 127
"""Largest int8 that stands for a value."""


def check_storage(storage: str) -> None:
    """Raise ValueError unless numbers can be kept so."""
    if storage not in STORAGES:
        raise ValueError(f"storage is {storage!r}; expected one of {', '.join(STORAGES)}")


def int8_scale(
    values: Tensor, *, axis: int = 1, levels: int = LEVELS, sensitivity: Tensor | None = None
) -> Tensor:
    """Return the steps at which int8 spans these values.

    Parameters
    ----------
    values
        Of any shape.
    axis
        Each entry along it has a step of its own: the latent, or the channel.
    levels
        Steps from 0 to the largest value, 127 at most; fewer are coarser, and cost less once
        coded.
    sensitivity
        ``(values.shape[axis],)``: what a change of each entry does, such as
        :func:`~insituml.archive.sensitivity.latent_sensitivity`. Steps are then such that one step
        of any entry does the same, and the entry that does most spans the levels: for its error
        this costs the fewest bytes once coded. None: each entry spans the levels.

    Returns
    -------
    Tensor
        ``(values.shape[axis],)``, float32 with the 8 significant bits of bfloat16, so that a step
        takes two bytes; 1 where all values are 0.

    Raises
    ------
    ValueError
        If a value is not finite, there is none, the levels do not fit int8, or a sensitivity is
        not above 0.
    """
    if not 1 <= levels <= LEVELS:
        raise ValueError(f"levels is {levels}; expected between 1 and {LEVELS}")
    if values.numel() == 0:
        raise ValueError(f"no values to scale in a shape of {tuple(values.shape)}")
    _check_finite(values)
    largest = values.detach().abs().float().movedim(axis, 0).flatten(start_dim=1).amax(dim=1)
    if bool(torch.isinf(largest).any()):
        raise ValueError(f"values reach {float(values.abs().max()):.4g}, beyond float32")
    if sensitivity is not None:
        if sensitivity.shape != largest.shape or not bool((sensitivity > 0).all()):
            raise ValueError(
                f"a sensitivity of shape {tuple(sensitivity.shape)} arrived; expected "
                f"{len(largest)} numbers above 0"
            )
        sensitivity = sensitivity.to(largest.device)
        largest = (largest * sensitivity).max() / sensitivity
    step = largest / levels
    # Rounded up, so that the largest value is within its levels.
    rounded = step.bfloat16()
    above = torch.nextafter(rounded, torch.full_like(rounded, torch.inf))
    rounded = torch.where(rounded.float() < step, above, rounded).float()
    return torch.where(rounded > 0, rounded, torch.ones_like(rounded))


def to_int8(values: Tensor, scale: Tensor, *, axis: int = 1) -> Tensor:
    """Return the nearest multiples of the steps, int8.

    Raises
    ------
    ValueError
        If a value is not finite, or beyond 127 steps.
    """
    _check_finite(values)
    steps = beside(scale.to(values.device), values, axis)
    numbers = torch.round(values.float() / steps)
    beyond = (numbers.abs() > LEVELS).movedim(axis, 0).flatten(start_dim=1).any(dim=1)
    if beyond.any():
        entry = int(torch.nonzero(beyond)[0])
        largest = float(values.movedim(axis, 0)[entry].abs().max())
        raise ValueError(
            f"entry {entry} along axis {axis} reaches {largest:.4g}, but int8 at its scale of "
            f"{float(scale[entry]):.4g} ends at {LEVELS * float(scale[entry]):.4g}; take the scale "
            "from values that span these, or leave it out"
        )
    return numbers.to(torch.int8)


def to_float16(values: Tensor) -> Tensor:
    """Return the values as float16.

    Raises
    ------
    ValueError
        If a value is not finite, or beyond the range of float16.
    """
    _check_finite(values)
    half = values.to(torch.float16)
    if not bool(torch.isfinite(half).all()):
        raise ValueError(
            f"values reach {float(values.abs().max()):.4g}, beyond float16, which ends at 65504; "
            "keep them as float32 or int8"
        )
    return half


def beside(scale: Tensor, values: Tensor, axis: int) -> Tensor:
    """Shape one number an entry of ``axis`` to broadcast with values.

    Raises
    ------
    ValueError
        If there are more or fewer.
    """
    if scale.shape != (values.shape[axis],):
        raise ValueError(
            f"a scale of shape {tuple(scale.shape)} arrived; values of shape "
            f"{tuple(values.shape)} have {values.shape[axis]} entries along axis {axis}"
        )
    shape = [1] * values.ndim
    shape[axis] = -1
    return scale.reshape(shape)


def _check_finite(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        wrong = int((~torch.isfinite(values)).sum())
        raise ValueError(
            f"{wrong} of {values.numel()} values are NaN or infinite; what made them has diverged"
        )
