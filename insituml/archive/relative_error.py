"""The first error that a physicist reads: ‖x − x̂‖ / ‖x‖."""

from __future__ import annotations

import numpy as np


class RelativeError:
    """Relative L2 error of fields in their unit, accumulated over iterations in float64.

    Parameters
    ----------
    components
        Number of components.
    """

    def __init__(self, components: int) -> None:
        self._differences = np.zeros(components)
        self._squares = np.zeros(components)

    def update(self, original: np.ndarray, restored: np.ndarray) -> None:
        """Take in one field and what became of it, both ``(components, ...)``."""
        for c, (before, after) in enumerate(zip(original, restored, strict=True)):
            values = before.astype(np.float64).ravel()
            self._squares[c] += values @ values
            values -= after.ravel()
            self._differences[c] += values @ values

    def by_component(self) -> np.ndarray:
        """Return ``(components,)``; NaN for a component that is 0 throughout."""
        return _ratio(self._differences, self._squares)

    def overall(self) -> float:
        """Return that of all components together."""
        return float(_ratio(self._differences.sum(), self._squares.sum()))


def _ratio(differences: np.ndarray, squares: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.where(squares > 0, differences / squares, np.nan))
