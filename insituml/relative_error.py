"""The first error that a physicist reads: relative L2, ‖x − x̂‖ / ‖x‖, defined here alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np


class RelativeError:
    """Relative L2 error of fields in their unit, accumulated over samples in float64.

    It is of all samples together: the root of the summed squares of differences over those of the
    originals. A mean of the samples' own ratios would be ruled by those that are almost empty.

    Parameters
    ----------
    components
        Number of components.
    """

    def __init__(self, components: int) -> None:
        self.differences = np.zeros(components)
        """``(components,)``: sum of ``(x − x̂)²``."""
        self.squares = np.zeros(components)
        """``(components,)``: sum of ``x²``."""

    @classmethod
    def of_sums(cls, differences: np.ndarray, squares: np.ndarray) -> Self:
        """Return the error of which these are the sums over all values of each component."""
        made = cls(len(squares))
        made.differences += differences
        made.squares += squares
        return made

    def update(self, original: np.ndarray, restored: np.ndarray) -> None:
        """Take in one field and what became of it, both ``(components, ...)``."""
        for c, (before, after) in enumerate(zip(original, restored, strict=True)):
            values = before.astype(np.float64).ravel()
            self.squares[c] += values @ values
            values -= after.ravel()
            self.differences[c] += values @ values

    def by_component(self) -> np.ndarray:
        """Return ``(components,)``; NaN for a component that is 0 throughout."""
        return _ratio(self.differences, self.squares)

    def overall(self, units: Sequence[str] = ()) -> float:
        """Return that of all components together: of the vector, ruled by the largest component.

        Where their ``units`` differ, sums over them mean nothing: the root mean square of the
        components' own errors, those that are 0 throughout aside.
        """
        if len(set(units)) <= 1:
            return float(_ratio(self.differences.sum(), self.squares.sum()))
        defined = self.by_component()[self.squares > 0]
        return float(np.sqrt(np.mean(defined**2))) if defined.size else float("nan")


def _ratio(differences: np.ndarray, squares: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.where(squares > 0, differences / squares, np.nan))
