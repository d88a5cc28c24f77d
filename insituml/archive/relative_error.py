"""The first error that a physicist reads: ‖x − x̂‖ / ‖x‖."""

from __future__ import annotations

from collections.abc import Sequence

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

    def overall(self, units: Sequence[str] = ()) -> float:
        """Return that of all components together.

        Where their ``units`` differ, sums over them mean nothing: the root mean square of the
        components' own errors, those that are 0 throughout aside.
        """
        if len(set(units)) <= 1:
            return float(_ratio(self._differences.sum(), self._squares.sum()))
        errors = self.by_component()
        defined = errors[np.isfinite(errors)]
        return float(np.sqrt(np.mean(defined**2))) if defined.size else float("nan")


def _ratio(differences: np.ndarray, squares: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.where(squares > 0, differences / squares, np.nan))
