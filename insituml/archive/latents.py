"""A raw field to latents and back, by a checkpoint alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from insituml.archive.field_code import FieldCode
from insituml.archive.quantisation import beside, check_storage, int8_scale, to_float16, to_int8
from insituml.gradients import evaluation_mode
from insituml.learner import ContinualLearner


@dataclass(frozen=True, eq=False)
class FieldLatents:
    """One field as a learner encodes it.

    Parameters
    ----------
    values
        ``(n_chunks, ...)``: the latent of each chunk, on the CPU; where less is stored, what the
        stored numbers stand for.
    shape
        Points of the field along each axis.
    task
        The task whose normalisation was used.
    storage
        What the numbers are kept as: ``"float32"``, ``"float16"`` or ``"int8"``.
    scale
        Of int8: the step of each latent, ``(size,)`` along axis 1.
    """

    values: Tensor
    shape: tuple[int, ...]
    task: int
    storage: str = "float32"
    scale: Tensor | None = None


def encode_field(
    learner: ContinualLearner,
    volume: np.ndarray | Tensor,
    *,
    task: int | None = None,
    storage: str = "float32",
    scale: Tensor | None = None,
    batch_size: int = 256,
) -> FieldLatents:
    """Encode a raw field; chunks and normalisation are those that the learner was trained with.

    It is cut into chunks, each standardised and encoded in evaluation mode on the learner's device.
    A volume that the chunk does not divide is continued by the values at its far edges.

    Parameters
    ----------
    learner
        From :func:`insituml.load_checkpoint`, trained on a field.
    volume
        ``(components, *axes)`` in the unit that was learned, such as ``(3, nx, ny, nz)`` in V/m;
        any number of points.
    task
        Whose normalisation to use, which matters where it was ``running``; None: that of the last
        task that the learner was trained through.
    storage
        ``"float32"``, as the learner gives them; ``"float16"``; or ``"int8"``, steps of each
        latent. :func:`~insituml.archive.latents_file.pack_latents` makes bytes of them.
    scale
        The steps of int8, from :func:`~insituml.archive.quantisation.int8_scale` of the latents of
        earlier fields, so that all share them; None: from those of this field.
    batch_size
        Chunks encoded at once.

    Returns
    -------
    FieldLatents
        All that :func:`decode_field` needs beside the learner.

    Raises
    ------
    ValueError
        If the learner's checkpoint is not of a field, or the volume has other components or axes,
        or holds NaN; or the storage is unknown or does not hold the latents.
    """
    check_storage(storage)
    code = FieldCode.of(learner, task)
    values = volume.numpy(force=True) if isinstance(volume, Tensor) else np.asarray(volume)
    code.check(values)
    chunks = code.cut(values.astype(np.float32, copy=False))
    parts = []
    device = next(learner.parameters()).device
    with evaluation_mode(learner), torch.no_grad():
        for first in range(0, len(chunks), batch_size):
            samples = code.normalisation.apply(chunks[first : first + batch_size])
            parts.append(learner.encode(torch.from_numpy(samples).to(device)).cpu())
    return quantised(FieldLatents(torch.cat(parts), values.shape[1:], code.task), storage, scale)


def quantised(latents: FieldLatents, storage: str, scale: Tensor | None = None) -> FieldLatents:
    """Return the latents as they are after they were stored.

    Parameters
    ----------
    latents
        Of one field.
    storage, scale
        As :func:`encode_field` takes them.

    Raises
    ------
    ValueError
        If the storage is unknown or does not hold the latents, or a scale is given to another than
        int8.
    """
    check_storage(storage)
    if storage != "int8" and scale is not None:
        raise ValueError(
            f"a scale arrived, which is of int8; latents stored as {storage} take none"
        )
    values = latents.values
    if storage == "float16":
        values = to_float16(values).float()
    elif storage == "int8":
        values = values if values.ndim > 1 else values[:, None]
        scale = int8_scale(values) if scale is None else scale
        values = to_int8(values, scale) * beside(scale, values, 1)
        values = values.reshape(latents.values.shape)
    return FieldLatents(values, latents.shape, latents.task, storage, scale)


def decode_field(
    learner: ContinualLearner, latents: FieldLatents, *, batch_size: int = 256
) -> np.ndarray:
    """Decode what :func:`encode_field` returned: the inverse, as far as the learner is one.

    The latents alone are decoded. A model whose own reconstruction also uses what it kept of the
    input (the indices of ``AutoEncoder3D(downsampling="pool")``) gives another, coarser one here.

    Parameters
    ----------
    learner
        The one that encoded, or another of the same data.
    latents
        From :func:`encode_field`.
    batch_size
        Chunks decoded at once.

    Returns
    -------
    numpy.ndarray
        ``(components, *latents.shape)``, float32, in the unit that was learned.

    Raises
    ------
    ValueError
        If the learner's checkpoint is not of a field, or the latents are of other chunks.
    """
    code = FieldCode.of(learner, latents.task)
    chunks = []
    device = next(learner.parameters()).device
    with evaluation_mode(learner), torch.no_grad():
        for part in latents.values.split(batch_size):
            samples = learner.decode(part.to(device)).numpy(force=True)
            chunks.append(code.normalisation.invert(samples))
    return code.join(np.concatenate(chunks), latents.shape)
