"""Steps counted for a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[int], None]
"""Told how many steps of the optimizer were taken since it was told last."""
PROGRESS_SECONDS = 0.5
"""How often at most: what shows it must cost nothing."""


class Pace:
    """Counts steps, and tells of them now and then.

    Parameters
    ----------
    progress
        What is told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told_at = time.perf_counter()
        self._steps = 0

    def step(self) -> None:
        """Count one; tell if it is time."""
        self._steps += 1
        if time.perf_counter() - self._told_at > PROGRESS_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Tell what was not told yet."""
        if self._steps:
            self._progress(self._steps)
        self._steps, self._told_at = 0, time.perf_counter()
