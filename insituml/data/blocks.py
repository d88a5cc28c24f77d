"""Parts of a grid, each of which one of several processes reads by itself."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Block:
    """A box of points.

    Parameters
    ----------
    start
        Its first point along each axis.
    shape
        How many points it has along each axis.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        """What takes it out of an array of the whole grid."""
        pairs = zip(self.start, self.shape, strict=True)
        return tuple(slice(first, first + count) for first, count in pairs)

    def holds(self, places: np.ndarray) -> np.ndarray:
        """Tell of points ``(n, axes)`` whether each lies in it, ``(n,)``."""
        first, count = np.array(self.start), np.array(self.shape)
        return ((places >= first) & (places < first + count)).all(axis=1)


def slabs(
    grid_shape: tuple[int, ...], chunk_shape: tuple[int, ...], count: int
) -> tuple[Block, ...] | None:
    """Cut a grid into slabs of whole chunks, as equal as may be.

    The slowest axis is cut that has enough chunks: what lies together in a file or in a message is
    then read together.

    Parameters
    ----------
    grid_shape, chunk_shape
        Points along each axis, of the grid and of a chunk, which divides it.
    count
        How many slabs.

    Returns
    -------
    tuple of Block or None
        None where no axis has so many chunks.
    """
    chunks = [n // size for n, size in zip(grid_shape, chunk_shape, strict=True)]
    enough = [axis for axis, number in enumerate(chunks) if number >= count]
    if not enough:
        return None
    axis = enough[0]
    ends = [chunk_shape[axis] * (chunks[axis] * k // count) for k in range(count + 1)]
    start, shape = [0] * len(grid_shape), list(grid_shape)
    found = []
    for first, end in itertools.pairwise(ends):
        start[axis], shape[axis] = first, end - first
        found.append(Block(tuple(start), tuple(shape)))
    return tuple(found)


def nothing(axes: int) -> Block:
    """Return a block without points, of so many axes."""
    return Block((0,) * axes, (0,) * axes)
