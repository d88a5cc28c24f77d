"""Cut a volume along its axes into equal sub-volumes, and put it together again.

Both directions are one reshape and one transpose. Chunks are ordered as their places are: the last
axis varies fastest.
"""

from __future__ import annotations

import math

import numpy as np


def chunk_volume(values: np.ndarray, chunk_shape: tuple[int, ...]) -> np.ndarray:
    """Cut a volume into chunks.

    Parameters
    ----------
    values
        ``(components, *grid)``, with any number of axes in ``grid``.
    chunk_shape
        Points of a chunk along each axis of ``grid``; must divide it.

    Returns
    -------
    numpy.ndarray
        ``(n_chunks, components, *chunk_shape)``, a contiguous copy, in the order of
        `chunk_places`.

    Raises
    ------
    ValueError
        If the chunk shape has another number of axes, or does not divide the grid.
    """
    counts = _counts(values.shape[1:], chunk_shape)
    components, ndim = values.shape[0], len(counts)
    split = [n for pair in zip(counts, chunk_shape, strict=True) for n in pair]
    outer = range(1, 2 * ndim, 2)
    inner = range(2, 2 * ndim + 1, 2)
    chunks = values.reshape(components, *split).transpose(*outer, 0, *inner)
    return np.array(chunks, order="C").reshape(math.prod(counts), components, *chunk_shape)


def chunk_places(grid_shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> np.ndarray:
    """Return where each chunk begins, in points.

    Parameters
    ----------
    grid_shape, chunk_shape
        Points along each axis, of the volume and of a chunk.

    Returns
    -------
    numpy.ndarray
        ``(n_chunks, ndim)``, int64.

    Raises
    ------
    ValueError
        As `chunk_volume`.
    """
    counts = _counts(grid_shape, chunk_shape)
    numbers = np.indices(counts, dtype=np.int64).reshape(len(counts), -1).T
    return np.ascontiguousarray(numbers * np.asarray(chunk_shape, dtype=np.int64))


def assemble(chunks: np.ndarray, places: np.ndarray, grid_shape: tuple[int, ...]) -> np.ndarray:
    """Put chunks back into a volume: the inverse of `chunk_volume`, in any order of the chunks.

    Parameters
    ----------
    chunks
        ``(n_chunks, components, *chunk_shape)``, together covering the grid.
    places
        ``(n_chunks, ndim)``: where each chunk begins, as from `chunk_places`.
    grid_shape
        Points of the volume along each axis.

    Returns
    -------
    numpy.ndarray
        ``(components, *grid_shape)``, in the dtype of ``chunks``.

    Raises
    ------
    ValueError
        If the chunks do not cover the grid, each point once.
    """
    chunk_shape = chunks.shape[2:]
    counts = _counts(grid_shape, chunk_shape)
    expected = chunk_places(grid_shape, chunk_shape)
    places = np.asarray(places)
    if chunks.shape[0] != len(expected) or places.shape != expected.shape:
        raise ValueError(
            f"{chunks.shape[0]} chunks with places of shape {places.shape} arrived; a grid of "
            f"{tuple(grid_shape)} has {len(expected)} chunks of {chunk_shape}, so places must have "
            f"shape {expected.shape}"
        )
    order = np.lexsort(places.T[::-1])
    if not np.array_equal(places[order], expected):
        raise ValueError(
            f"the places do not tile a grid of {tuple(grid_shape)} by chunks of {chunk_shape}: one "
            "is repeated, missing or between chunks; take them from chunk_places"
        )
    components, ndim = chunks.shape[1], len(counts)
    if not np.array_equal(order, np.arange(len(order))):
        chunks = chunks[order]
    volume = chunks.reshape(*counts, components, *chunk_shape)
    axes = [axis for i in range(ndim) for axis in (i, ndim + 1 + i)]
    return np.array(volume.transpose(ndim, *axes), order="C").reshape(components, *grid_shape)


def _counts(grid_shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of chunks along each axis."""
    if len(grid_shape) != len(chunk_shape):
        raise ValueError(
            f"chunk_shape={tuple(chunk_shape)} has {len(chunk_shape)} axes, but the grid "
            f"{tuple(grid_shape)} has {len(grid_shape)}; give one number for each axis of the grid"
        )
    for axis, (points, size) in enumerate(zip(grid_shape, chunk_shape, strict=True)):
        if size < 1 or points % size:
            fits = [n for n in range(1, points + 1) if points % n == 0]
            near = sorted(sorted(fits, key=lambda n: abs(n - size))[:2])
            raise ValueError(
                f"chunk_shape={tuple(chunk_shape)} does not divide the grid {tuple(grid_shape)}: "
                f"axis {axis} has {points} points, not a multiple of {size}; nearest sizes that "
                f"fit: {' or '.join(map(str, near))}"
            )
    return tuple(points // size for points, size in zip(grid_shape, chunk_shape, strict=True))
