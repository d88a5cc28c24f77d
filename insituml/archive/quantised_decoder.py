"""A decoder as the bytes that an archive of latents keeps beside them."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from insituml.archive.entropy import expand, squeeze
from insituml.archive.quantisation import STORAGES, beside, int8_scale, to_int8
from insituml.archive.sealed import seal, unseal
from insituml.learner import ContinualLearner

FORMAT = 1
"""Version of the layout; a reader refuses others."""
DECODER_STORAGES = (*STORAGES, "int10")
"""What weights can be kept as."""
FINER = 4
"""Steps of int10 in one of int8."""
HALF_ERROR = 1e-3
"""Relative L2 error above which a weight stays as it is where float16 was meant."""
_HEAD = struct.Struct("<BI")
"""Format; bytes of the table of entries, which follows."""


@dataclass(frozen=True, eq=False)
class QuantisedDecoder:
    """A decoder in fewer bits.

    Parameters
    ----------
    data
        What is stored; :func:`load_decoder` reads it.
    learner
        A copy that decodes by it. Encode with the original: where both halves share weights, as
        those of principal components do, the copy's encoder is quantised too.
    """

    data: bytes
    learner: ContinualLearner


def quantise_decoder(learner: ContinualLearner, storage: str = "int8") -> QuantisedDecoder:
    """Return what decoding needs of a learner, its ``decoder_entries()``, in fewer bits.

    Parameters
    ----------
    learner
        Any; it is not changed.
    storage
        ``"int8"``: weights of two axes or more as steps of each channel (axis 0; of a basis, each
        component), biases and other vectors as float16. ``"int10"``: the same with steps a quarter
        as large, which cost two bits a weight: for a basis whose rows are small but for few
        points, still far less than ``"float16"``, which is all so. ``"float32"``: all as they are.
        What float16 does not hold to a relative error of 10⁻³ stays as it is. All are
        entropy-coded.

    Raises
    ------
    ValueError
        If the storage is unknown or a weight is not finite.
    """
    if storage not in DECODER_STORAGES:
        raise ValueError(f"storage is {storage!r}; expected one of {', '.join(DECODER_STORAGES)}")
    table, blobs = [], []
    for name, weight in learner.decoder_state().items():
        value = weight.detach().cpu()
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} of {type(learner).__name__} is not finite: it has diverged")
        kind, parts = _stored(value, storage)
        coded = [squeeze(part.numpy()) for part in parts]
        table.append((name, kind, list(value.shape), [len(blob) for blob in coded]))
        blobs += coded
    text = zlib.compress(json.dumps(table, separators=(",", ":")).encode(), 9)
    data = seal(_HEAD.pack(FORMAT, len(text)) + text + b"".join(blobs))
    return QuantisedDecoder(data, load_decoder(learner, data))


def load_decoder(learner: ContinualLearner, data: bytes) -> ContinualLearner:
    """Return a copy of a learner that decodes by what :func:`quantise_decoder` stored.

    Parameters
    ----------
    learner
        Of the same class and arguments; it is not changed.
    data
        The stored bytes.

    Raises
    ------
    ValueError
        If they are no decoder, damaged, of another version, or of another learner.
    """
    content = unseal(data, "decoder")
    if content[0] != FORMAT:
        raise ValueError(f"a decoder of format {content[0]}; this version reads {FORMAT}")
    _, length = _HEAD.unpack_from(content)
    start = _HEAD.size + length
    table = json.loads(zlib.decompress(content[_HEAD.size : start]))
    copied = copy.deepcopy(learner)
    weights = copied.state_dict()
    ours = [(name, list(weights[name].shape)) for name in learner.decoder_entries()]
    theirs = [(name, shape) for name, _, shape, _ in table]
    if ours != theirs:
        wrong = next((pair for pair in theirs if pair not in ours), None) or ours[-1]
        raise ValueError(
            f"the stored decoder is not that of this {type(learner).__name__}: {wrong[0]} of "
            f"shape {tuple(wrong[1])} stands in one of them alone; build the learner with the "
            "arguments that it was trained with"
        )
    for name, kind, shape, lengths in table:
        parts = []
        for length in lengths:
            parts.append(content[start : start + length])
            start += length
        weights[name] = _value(kind, shape, parts, weights[name].dtype)
    copied.load_state_dict(weights)
    return copied


def _stored(value: Tensor, storage: str) -> tuple[str, list[Tensor]]:
    """Return how a weight is kept, and the numbers."""
    if storage == "float32" or not value.is_floating_point() or value.numel() == 0:
        return "plain", [value]
    if storage == "int8" and value.ndim > 1:
        scale = int8_scale(value, axis=0)
        return "int8", [to_int8(value, scale, axis=0), scale.bfloat16().view(torch.int16)]
    if storage == "int10" and value.ndim > 1:
        scale = int8_scale(value, axis=0) / FINER
        codes = torch.round(value.float() / beside(scale, value, 0)).to(torch.int16)
        return "int10", [(codes << 1) ^ (codes >> 15), scale.bfloat16().view(torch.int16)]
    half = value.half()
    error = (half.double() - value.double()).norm()
    if bool(error <= HALF_ERROR * value.double().norm()):
        return "half", [half]
    return "plain", [value]


def _value(kind: str, shape: list[int], parts: list[bytes], dtype: torch.dtype) -> Tensor:
    """Return the weight that was kept so, in the learner's dtype."""
    size = tuple(shape)
    if kind in ("int8", "int10"):
        width = np.dtype(np.int8 if kind == "int8" else np.int16)
        codes = torch.from_numpy(expand(parts[0], width, size))
        if kind == "int10":  # even: 0 and above, odd: below, so that the first byte is mostly 0
            codes = (codes >> 1) ^ -(codes & 1)
        steps = torch.from_numpy(expand(parts[1], np.dtype(np.int16), size[:1]))
        return (codes * beside(steps.view(torch.bfloat16).float(), codes, 0)).to(dtype)
    if kind == "half":
        return torch.from_numpy(expand(parts[0], np.dtype(np.float16), size)).to(dtype)
    return torch.from_numpy(expand(parts[0], torch.empty(0, dtype=dtype).numpy().dtype, size))
