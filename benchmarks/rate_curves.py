"""Points of rate and error, and what is read off the curves through them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """One way to compress the held-out fields.

    Parameters
    ----------
    compressor
        Whose curve the point is on.
    setting
        Its bound, or latents and storage.
    error
        Relative L2 error of the whole vector field, in its unit.
    mse
        Mean squared error of the fields as they are normalised for learning.
    ratio
        Raw float32 bytes of the held-out fields over all bytes that they take, without a decoder.
    decoder
        Bytes of the decoder, which are stored once, however long the stream.
    """

    compressor: str
    setting: str
    error: float
    mse: float
    ratio: float
    decoder: int = 0

    def ratio_of_stream(self, raw: float) -> float:
        """Return the ratio over a stream of ``raw`` bytes, the decoder's included."""
        return raw / (raw / self.ratio + self.decoder)

    def stream_for(self, ratio: float) -> float:
        """Return the raw bytes of the stream from which on this ratio holds; infinity: never."""
        if ratio >= self.ratio:
            return math.inf
        return self.decoder * ratio / (1 - ratio / self.ratio)


def front(points: Sequence[Point], by: str = "error") -> list[Point]:
    """Return the points that no other beats in both error and ratio, by rising error."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (getattr(p, by), -p.ratio)):
        if not best or point.ratio > best[-1].ratio:
            best.append(point)
    return best


def ratio_at(points: Sequence[Point], error: float, by: str = "error") -> float:
    """Return the best ratio at an error.

    Between two points of the front the curve is a power law; beyond the last one its ratio holds;
    before the first there is none: NaN.
    """
    best = front(points, by)
    errors = [getattr(p, by) for p in best]
    if not best or error < errors[0]:
        return math.nan
    return float(np.exp(np.interp(np.log(error), np.log(errors), np.log([p.ratio for p in best]))))


def stream_at(points: Sequence[Point], error: float, ratio: float) -> float:
    """Return the shortest stream, in bytes, in which a ratio holds at no more than an error.

    The decoder is included. NaN where no point has so small an error.
    """
    lengths = [p.stream_for(ratio) for p in points if p.error <= error]
    return min(lengths, default=math.nan)


def last_win(points: Sequence[Point], others: Sequence[Point]) -> float:
    """Return the error up to which the first compressor's ratio is at least the other's."""
    errors = np.geomspace(min(p.error for p in points), max(p.error for p in points), 2000)
    won = [e for e in errors if not ratio_at(others, e) > ratio_at(points, e)]
    return float(max(won, default=0.0))
