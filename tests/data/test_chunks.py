"""Cutting a volume and putting it together are inverses."""

import numpy as np
import pytest

from insituml.data.chunks import assemble, chunk_places, chunk_volume

CASES = [
    ((8,), (2,)),
    ((4, 6), (2, 3)),
    ((4, 6), (4, 6)),
    ((4, 6, 8), (2, 3, 8)),
    ((4, 6, 8), (1, 1, 1)),
    ((2, 4, 2, 6), (1, 2, 2, 3)),
]


def numbered(components: int, grid: tuple[int, ...]) -> np.ndarray:
    return np.arange(components * np.prod(grid), dtype=np.float32).reshape(components, *grid)


@pytest.mark.parametrize("grid, chunk", CASES)
@pytest.mark.parametrize("components", [1, 3])
def test_chunks_are_the_slices_at_their_places(
    components: int, grid: tuple[int, ...], chunk: tuple[int, ...]
) -> None:
    values = numbered(components, grid)
    chunks, places = chunk_volume(values, chunk), chunk_places(grid, chunk)
    assert chunks.shape == (np.prod(grid) // np.prod(chunk), components, *chunk)
    assert chunks.flags.c_contiguous
    assert places.shape == (len(chunks), len(grid))
    for part, place in zip(chunks, places, strict=True):
        here = tuple(slice(p, p + n) for p, n in zip(place, chunk, strict=True))
        np.testing.assert_array_equal(part, values[:, *here])


@pytest.mark.parametrize("grid, chunk", CASES)
def test_round_trip(grid: tuple[int, ...], chunk: tuple[int, ...]) -> None:
    values = numbered(2, grid)
    back = assemble(chunk_volume(values, chunk), chunk_places(grid, chunk), grid)
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("grid, chunk", CASES)
def test_round_trip_of_shuffled_chunks(grid: tuple[int, ...], chunk: tuple[int, ...]) -> None:
    values = numbered(2, grid)
    chunks, places = chunk_volume(values, chunk), chunk_places(grid, chunk)
    order = np.random.default_rng(0).permutation(len(chunks))
    np.testing.assert_array_equal(assemble(chunks[order], places[order], grid), values)


def test_places_vary_fastest_along_the_last_axis() -> None:
    assert chunk_places((4, 6), (2, 3)).tolist() == [[0, 0], [0, 3], [2, 0], [2, 3]]


def test_chunks_are_a_copy() -> None:
    values = numbered(1, (4, 4))
    chunk_volume(values, (4, 4))[:] = -1
    assert values.min() == 0


@pytest.mark.parametrize(
    "chunk, message",
    [
        ((2, 5), "axis 1 has 12 points, not a multiple of 5; .*4 or 6"),
        ((2, 100), "axis 1 has 12 points, .*6 or 12"),
        ((0, 3), "axis 0 has 4 points, .*1 or 2"),
        ((2, 3, 1), "has 3 axes, but the grid .* has 2"),
    ],
)
def test_shape_that_does_not_fit(chunk: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chunk_volume(numbered(1, (4, 12)), chunk)
    with pytest.raises(ValueError, match=message):
        chunk_places((4, 12), chunk)


def test_chunks_that_do_not_cover() -> None:
    chunks, places = chunk_volume(numbered(1, (4, 6)), (2, 3)), chunk_places((4, 6), (2, 3))
    with pytest.raises(ValueError, match="has 4 chunks"):
        assemble(chunks[1:], places[1:], (4, 6))
    places[0] = places[1]
    with pytest.raises(ValueError, match="repeated, missing or between"):
        assemble(chunks, places, (4, 6))
