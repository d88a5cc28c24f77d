"""Latents as the bytes that an archive keeps, and back, number by number the same."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from insituml.archive.entropy import expand, squeeze
from insituml.archive.latents import FieldLatents
from insituml.archive.quantisation import STORAGES, beside, to_int8
from insituml.archive.sealed import seal, unseal
from insituml.data.task import exactly

FORMAT = 1
"""Version of the layout; a reader refuses others."""
_HEAD = struct.Struct("<BBIHIBBB")
"""Format, storage, fields, task; bytes of the coded scale; axes of field, latent and scale."""
_DTYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8}


def pack_latents(fields: Sequence[FieldLatents]) -> bytes:
    """Return the latents of one or more fields as bytes, entropy-coded and with a checksum.

    Parameters
    ----------
    fields
        From :func:`~insituml.archive.latents.encode_field`, in the order in which
        :func:`unpack_latents` returns them, alike in shape, task, storage and, of int8, scale,
        which is stored once.

    Raises
    ------
    ValueError
        If there is none, they are not alike, or not the numbers that their storage holds.
    """
    if not fields:
        raise ValueError("no latents to pack; give those of at least one field")
    first = fields[0]
    for number, field in enumerate(fields):
        if _kind(field) != _kind(first) or not _same(field.scale, first.scale):
            raise ValueError(
                f"field {number} is of {_kind(field)}, the first one of {_kind(first)}, or has "
                "another scale; pack fields that are alike, and give encode_field one scale for all"
            )
    numbers = np.stack([_numbers(field) for field in fields])
    scale = b""
    if first.scale is not None:
        scale = squeeze(first.scale.bfloat16().view(torch.int16).numpy())
    latent = numbers.shape[1:]
    head = _HEAD.pack(
        *(FORMAT, STORAGES.index(first.storage), len(fields), first.task, len(scale)),
        *(len(first.shape), len(latent), int(first.scale is not None)),
    )
    lengths = (*first.shape, *latent, *(() if first.scale is None else first.scale.shape))
    sizes = struct.pack(f"<{len(lengths)}I", *lengths)
    return seal(head + sizes + scale + squeeze(numbers))


def unpack_latents(data: bytes) -> list[FieldLatents]:
    """Return what :func:`pack_latents` was given.

    Raises
    ------
    ValueError
        If the bytes are no latents, damaged, or of another version.
    """
    content = unseal(data, "latents")
    if content[0] != FORMAT:
        raise ValueError(f"latents of format {content[0]}; this version reads {FORMAT}")
    _, storage, count, task, coded, *axes = _HEAD.unpack_from(content)
    start = _HEAD.size + 4 * sum(axes)
    lengths = list(struct.unpack_from(f"<{sum(axes)}I", content, _HEAD.size))
    shape, latent, steps = (tuple(lengths.pop(0) for _ in range(n)) for n in axes)
    scale = None
    if steps:
        halves = expand(content[start : start + coded], np.dtype(np.int16), steps)
        scale = torch.from_numpy(halves).view(torch.bfloat16).float()
    name = STORAGES[storage]
    numbers = expand(content[start + coded :], np.dtype(_DTYPES[name]), (count, *latent))
    return [
        FieldLatents(_values(torch.from_numpy(one), scale), shape, task, name, scale)
        for one in numbers
    ]


def _kind(field: FieldLatents) -> tuple[str, int, tuple[int, ...], tuple[int, ...]]:
    return field.storage, field.task, tuple(field.shape), tuple(field.values.shape)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return other is one if one is None or other is None else torch.equal(one, other)


def _numbers(field: FieldLatents) -> np.ndarray:
    """Return the numbers that are stored of a field, having looked that they stand for it."""
    if field.storage == "int8":
        if field.scale is None:
            raise ValueError("latents stored as int8 arrived without a scale; take encode_field's")
        stored = to_int8(_with_axis(field.values), field.scale).reshape(field.values.shape)
    else:
        stored = exactly(field.values, getattr(torch, field.storage))
    if not torch.equal(_values(stored, field.scale), field.values.float()):
        raise ValueError(
            f"values arrived that are none of {field.storage}; take them from encode_field(..., "
            f"storage={field.storage!r})"
        )
    return stored.numpy()


def _values(stored: Tensor, scale: Tensor | None) -> Tensor:
    if scale is None:
        return stored.float()
    return (_with_axis(stored) * beside(scale, _with_axis(stored), 1)).reshape(stored.shape)


def _with_axis(values: Tensor) -> Tensor:
    return values if values.ndim > 1 else values[:, None]
