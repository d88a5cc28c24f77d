"""Permutations: bijections, the identity first, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from insituml.data.images.permuted_pixels import PermutedPixels

IMAGES = np.random.default_rng(3).normal(size=(6, 2, 4, 5)).astype(np.float32)


def permuted(tasks: int = 4, seed: int = 7) -> PermutedPixels:
    return PermutedPixels((4, 5), tasks, generator=np.random.default_rng(seed))


def test_orders_are_bijections_and_differ() -> None:
    pixels = permuted()
    assert len(pixels) == 4
    for order in pixels.orders:
        assert sorted(order) == list(range(20))
    assert len(set(map(tuple, pixels.orders.tolist()))) == 4


def test_task_0_changes_nothing() -> None:
    np.testing.assert_array_equal(permuted().apply(IMAGES, 0), IMAGES)


def test_pixels_move_with_their_channels() -> None:
    pixels = permuted()
    for task in range(4):
        found = pixels.apply(IMAGES, task)
        assert found.dtype == IMAGES.dtype
        for place, source in enumerate(pixels.orders[task]):
            row, column = divmod(place, 5)
            np.testing.assert_array_equal(
                found[:, :, row, column], IMAGES[:, :, source // 5, source % 5]
            )
        np.testing.assert_array_equal(pixels.invert(found, task), IMAGES)


def test_the_seed_decides_and_the_number_of_tasks_does_not() -> None:
    np.testing.assert_array_equal(permuted().orders, permuted().orders)
    np.testing.assert_array_equal(permuted(9).orders[:4], permuted(4).orders)
    assert (permuted(seed=8).orders[1:] != permuted().orders[1:]).any(axis=1).all()


def test_global_randomness_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    permuted().apply(IMAGES, 2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(6, 2, 5, 4\) arrived; expected \(n, channels, 4, 5\)"):
        permuted().apply(IMAGES.reshape(6, 2, 5, 4), 1)
    with pytest.raises(ValueError, match="tasks is 0"):
        permuted(0)
