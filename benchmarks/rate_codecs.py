"""Held-out fields through compressors and learners: bytes and errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.rate_curves import Point
from insituml.archive import (
    decode_field,
    encode_field,
    pack_latents,
    quantise_decoder,
    unpack_latents,
)
from insituml.archive.latents import quantised
from insituml.archive.lossy_compressors import compress, decompress, overhead
from insituml.archive.quantisation import int8_scale
from insituml.archive.sensitivity import latent_sensitivity
from insituml.learner import ContinualLearner

BOUNDS = tuple(float(b) for b in 4 * 0.5 ** np.arange(10))
"""Largest errors that compressors are asked for, as shares of a deviation."""
LEVELS = (127, 63, 31, 15)
"""Steps of int8 from 0 to the largest latent."""


@dataclass(frozen=True, eq=False)
class Fields:
    """A stream's fields.

    Parameters
    ----------
    volumes
        ``(iterations, components, *grid)``, float32, all of the stream.
    held_out
        Places of those that no learner has seen; errors are of these.
    deviations
        ``(components,)``: by which fields are normalised.
    """

    volumes: np.ndarray
    held_out: np.ndarray
    deviations: np.ndarray

    @property
    def judged(self) -> np.ndarray:
        """The held-out fields."""
        return self.volumes[self.held_out]

    def point(self, compressor: str, setting: str, restored: np.ndarray, size: float) -> Point:
        """Return what ``size`` bytes for the held-out fields gave."""
        original = self.judged.astype(np.float64)
        difference = restored - original
        error = float(np.linalg.norm(difference) / np.linalg.norm(original))
        scale = self.deviations.reshape(-1, *(1,) * (original.ndim - 2))
        mse = float(np.square(difference / scale).mean())
        return Point(compressor, setting, error, mse, self.judged.nbytes / size)


def compressor_points(
    fields: Fields, name: str, algorithm: str, loosest: float = 1
) -> Iterator[Point]:
    """Compress each component of each held-out iteration as one volume.

    Bounds are those of each component, or one for all in the field's unit: the former is better for
    the normalised error, the latter for the relative one. Where errors stay far below their bound,
    as ZFP's do, the bounds begin ``loosest`` times higher.
    """
    for bound in [loosest * b for b in BOUNDS]:
        for kind, scales in _bounds(fields):
            restored, size = np.empty_like(fields.judged), 0
            for place, volume in enumerate(fields.judged):
                for c, component in enumerate(volume):
                    data = compress(component, bound * scales[c], compressor=algorithm)
                    restored[place, c] = decompress(data)
                    size += len(data) - overhead(component.ndim)
            yield fields.point(name, f"{algorithm}, bound {bound:.3g} × {kind}", restored, size)


def series_points(fields: Fields, name: str, algorithm: str) -> Iterator[Point]:
    """Compress each component of the whole stream at once, time as the first of four axes.

    The held-out iterations take their share of the bytes.
    """
    share = len(fields.held_out) / len(fields.volumes)
    for bound in BOUNDS:
        for kind, scales in _bounds(fields):
            restored, size = np.empty_like(fields.judged), 0.0
            for c, scale in enumerate(scales):
                series = np.ascontiguousarray(fields.volumes[:, c])
                data = compress(series, bound * scale, compressor=algorithm)
                restored[:, c] = decompress(data)[fields.held_out]
                size += share * (len(data) - overhead(series.ndim))
            yield fields.point(name, f"{algorithm}, bound {bound:.3g} × {kind}", restored, size)


def _bounds(fields: Fields) -> list[tuple[str, np.ndarray]]:
    largest = np.full_like(fields.deviations, fields.deviations.max() / 5)
    return [("each deviation", fields.deviations), ("a fifth of the largest", largest)]


def learner_points(fields: Fields, name: str, learner: ContinualLearner) -> Iterator[Point]:
    """Store the latents of the held-out fields together, in every way, and decode them.

    What decodes is a stored decoder. The steps of int8 latents are those that
    the stored latents ask for, and are stored with them.
    """
    latents = [encode_field(learner, volume, task=0) for volume in fields.judged]
    values = torch.cat([one.values for one in latents])
    numbers = values[0].numel()
    few = values[:: max(1, len(values) // 64)]
    generator = torch.Generator().manual_seed(0)
    sensitivity = latent_sensitivity(learner, few, generator=generator)
    ways = [("float16", None), ("int8, each latent spans 127 steps", int8_scale(values))]
    for levels in LEVELS:
        scale = int8_scale(values, levels=levels, sensitivity=sensitivity)
        ways.append((f"int8, {levels} steps of equal effect", scale))
    for storage in ("float16", "int10", "int8"):
        decoder = quantise_decoder(learner, storage)
        for way, scale in ways:
            kept = [quantised(one, way.split(",")[0], scale) for one in latents]
            data = pack_latents(kept)
            restored = [decode_field(decoder.learner, one) for one in unpack_latents(data)]
            setting = f"{numbers} latents, {way}; decoder {storage}"
            point = fields.point(name, setting, np.stack(restored), len(data))
            yield replace(point, decoder=len(decoder.data))
