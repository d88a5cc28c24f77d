"""Permuted pixels: the same images as new tasks, each with its pixels in an order of its own.

Goodfellow et al., *An Empirical Investigation of Catastrophic Forgetting in Gradient-Based Neural
Networks*, ICLR 2014; Kirkpatrick et al., PNAS 114, 3521 (2017).
"""

from __future__ import annotations

import math

import numpy as np


class PermutedPixels:
    """A fixed order of the pixels for each task; task 0 leaves them where they are.

    The channels of a pixel stay together. The order of task k does not depend on how many tasks
    follow.

    Parameters
    ----------
    grid
        ``(height, width)`` of the images; any number of axes works.
    tasks
        Number of tasks, 1 or more.
    generator
        Draws the orders of tasks 1, 2, ... when the object is made, and is not used again.

    Raises
    ------
    ValueError
        If there is no task.
    """

    def __init__(
        self, grid: tuple[int, ...], tasks: int, *, generator: np.random.Generator
    ) -> None:
        if tasks < 1:
            raise ValueError(f"tasks is {tasks}; expected 1 or more permutations")
        self.grid = tuple(grid)
        count = math.prod(self.grid)
        drawn = [generator.permutation(count) for _ in range(tasks - 1)]
        self.orders = np.stack([np.arange(count), *drawn])
        """``(tasks, pixels)`` int64: which pixel each place shows, in row-major order."""

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.orders)

    def apply(self, images: np.ndarray, task: int) -> np.ndarray:
        """Return images with their pixels in the order of a task.

        Parameters
        ----------
        images
            ``(n, channels, *grid)``.
        task
            From 0, the task that changes nothing.

        Raises
        ------
        ValueError
            If the images have another grid.
        """
        return self._taken(images, self.orders[task])

    def invert(self, images: np.ndarray, task: int) -> np.ndarray:
        """Return images with their pixels in their places again: the inverse of `apply`."""
        return self._taken(images, np.argsort(self.orders[task]))

    def _taken(self, images: np.ndarray, order: np.ndarray) -> np.ndarray:
        if images.shape[2:] != self.grid:
            raise ValueError(
                f"images of shape {images.shape} arrived; expected (n, channels, "
                f"{', '.join(map(str, self.grid))})"
            )
        flat = images.reshape(*images.shape[:2], order.size)
        return flat[:, :, order].reshape(images.shape)
