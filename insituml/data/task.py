"""A task: what a learner sees at one stretch, and what it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Batch = tuple[torch.Tensor, ...]
"""The inputs, then labels or conditions where there are any; first dimension: samples."""


@dataclass(frozen=True)
class Task:
    """One stretch of a stream.

    Parameters
    ----------
    index
        Place in the stream, from 0.
    name
        What a figure calls it, such as ``"iterations 10-19"``.
    train, test
        Samples to learn from, and held-out samples that training never sees. Tensors may be
        backed by a memory-mapped file: indexing reads only what it needs.
    validation
        Samples to select by, which training never sees either; often there are none.
    seen
        How many samples at the start of ``train`` an earlier task of a schedule has shown already,
        as that of cumulative training does.
    """

    index: int
    name: str
    train: Batch
    test: Batch
    seen: int = 0
    validation: Batch = ()


STAGED = 2**16
"""Bytes up to which CUDA takes a copy of ordinary memory before the call returns."""


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device, without waiting for what it is busy with.

    What is large passes through page-locked memory of the CPU, from which it is copied meanwhile.
    """
    if values.device.type != "cpu" or device.type == "cpu":
        return values.to(device)
    if device.type == "cuda" and values.nbytes > STAGED and not values.is_pinned():
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def joined(batch: Batch, more: Batch) -> Batch:
    """Return one batch of both, ``more`` at the end and taken to the first's device.

    Raises
    ------
    ValueError
        If columns differ in number or shape, or no dtype holds the values of both exactly.
    """
    check_same_columns(batch, more)
    moved = [sent(old, new.device) for new, old in zip(batch, more, strict=True)]
    return tuple(concatenated([new, old]) for new, old in zip(batch, moved, strict=True))


def check_same_columns(batch: Batch, more: Batch) -> None:
    """Raise ValueError unless both have columns of the same shapes, samples aside."""
    ours, theirs = ([tuple(c.shape[1:]) for c in columns] for columns in (batch, more))
    if ours != theirs:
        raise ValueError(
            f"samples of shapes {theirs} cannot follow samples of shapes {ours}; expected the same "
            "columns in every task"
        )


def concatenated(parts: Sequence[Tensor]) -> Tensor:
    """Join columns in a dtype that holds all their values exactly.

    Raises
    ------
    ValueError
        If there is none.
    """
    dtype = parts[0].dtype
    for part in parts[1:]:
        dtype = torch.promote_types(dtype, part.dtype)
    return torch.cat([exactly(part, dtype) for part in parts])


def exactly(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return values in another dtype, if none of them changes.

    Raises
    ------
    ValueError
        Naming both dtypes.
    """
    if values.dtype == dtype:
        return values
    if dtype.is_complex or not values.is_complex():
        cast = values.to(dtype)
        real = cast.real if dtype.is_complex and not values.is_complex() else cast
        back = real.to(values.dtype)
        same = (back == values) | ((back != back) & (values != values))
        if not values.is_complex():
            same &= (real < 0) == (values < 0)  # there and back, integers wrap around
        if bool(same.all()):
            return cast
    raise ValueError(
        f"values of {values.dtype} arrived where {dtype} is stored, which would change them; give "
        "all samples of a stream the same dtype"
    )
