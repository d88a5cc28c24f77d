"""A raw field to latents and back, by a checkpoint alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from insituml.archive.field_code import FieldCode
from insituml.gradients import evaluation_mode
from insituml.learner import ContinualLearner


@dataclass(frozen=True, eq=False)
class FieldLatents:
    """One field as a learner encodes it.

    Parameters
    ----------
    values
        ``(n_chunks, ...)``: the latent of each chunk, on the CPU.
    shape
        Points of the field along each axis.
    task
        The task whose normalisation was used.
    """

    values: Tensor
    shape: tuple[int, ...]
    task: int


def encode_field(
    learner: ContinualLearner,
    volume: np.ndarray | Tensor,
    *,
    task: int | None = None,
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
        or holds NaN.
    """
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
    return FieldLatents(torch.cat(parts), values.shape[1:], code.task)


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
