"""Standardise each component by its own mean and spread.

Components of a wakefield differ by a factor of sixty: without this, one of them is the whole loss.
The statistics must come from the first task, or be running: never from the future of a stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Normalisation:
    """``(values − mean) / std``, for each component.

    Parameters
    ----------
    mean, std
        ``(components,)``, in the unit of the values; kept as float32. The ``std`` of a constant
        component, which is 0 or no more than the rounding of its mean, is replaced by 1, so that
        the component becomes 0 and comes back exactly.

    Raises
    ------
    ValueError
        If the two differ in shape, or are not finite, or a ``std`` is below 0.
    """

    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self) -> None:
        """Convert to float32 and check."""
        mean = np.array(self.mean, dtype=np.float32)
        std = np.array(self.std, dtype=np.float32)
        if mean.ndim != 1 or mean.shape != std.shape:
            raise ValueError(
                f"mean has shape {mean.shape} and std {std.shape}; both must be (components,)"
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
            raise ValueError(
                f"mean={mean} and std={std} must be finite, and std not below 0; look for NaN or "
                "infinity in the first task"
            )
        object.__setattr__(self, "mean", mean)
        constant = std <= np.finfo(np.float32).eps * np.abs(mean)
        object.__setattr__(self, "std", np.where(constant, np.float32(1), std))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return standardised values.

        Parameters
        ----------
        values
            ``(n, components, ...)``.

        Returns
        -------
        numpy.ndarray
            Same shape, float32 for float32 values.

        Raises
        ------
        ValueError
            If axis 1 is not the components.
        """
        mean, std = self._beside(values)
        return (values - mean) / std

    def invert(self, values: np.ndarray) -> np.ndarray:
        """Return values in their unit again: the inverse of `apply`, of the same shapes."""
        mean, std = self._beside(values)
        return values * std + mean

    def _beside(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shape mean and std to broadcast along axis 1."""
        _check_components(values, self.mean.size)
        shape = (-1, *(1,) * (values.ndim - 2))
        return self.mean.reshape(shape), self.std.reshape(shape)


class RunningMoments:
    """Mean and variance of each component, updated batch by batch in float64.

    Batches are merged by the pairwise formula of Chan, Golub and LeVeque (1983), so that neither
    the order nor the size of the batches matters beyond rounding, and a mean far larger than the
    spread cancels nothing.

    Parameters
    ----------
    components
        Number of components.
    """

    def __init__(self, components: int) -> None:
        if components < 1:
            raise ValueError(f"components={components} must be at least 1")
        self.count = 0
        """Values seen of each component."""
        self.mean = np.zeros(components)
        """``(components,)``, float64."""
        self.squares = np.zeros(components)
        """``(components,)``, float64: sum of squared deviations from the mean."""

    def update(self, values: np.ndarray) -> None:
        """Take in values.

        Parameters
        ----------
        values
            ``(n, components, ...)``; a batch without values changes nothing.

        Raises
        ------
        ValueError
            If axis 1 is not the components, or a value is not finite.
        """
        _check_components(values, self.mean.size)
        count = values.shape[0] * math.prod(values.shape[2:])
        if count == 0:
            return
        mean = np.empty(self.mean.size)
        squares = np.empty(self.mean.size)
        for c in range(self.mean.size):  # one component at a time: the float64 copy stays small
            component = values[:, c].astype(np.float64)
            mean[c] = component.mean()
            component -= mean[c]
            squares[c] = np.vdot(component, component)
        if not (np.isfinite(mean).all() and np.isfinite(squares).all()):
            raise ValueError(
                f"a value is NaN or infinite: the batch's means are {mean}; the moments are "
                "unchanged, so drop the batch or mend its source"
            )
        self._merge(count, mean, squares)

    def merge(self, other: RunningMoments) -> None:
        """Take in what another instance has seen.

        Parameters
        ----------
        other
            Moments of as many components; not changed.

        Raises
        ------
        ValueError
            If the numbers of components differ.
        """
        if other.mean.size != self.mean.size:
            raise ValueError(
                f"moments of {other.mean.size} components arrived; expected {self.mean.size}"
            )
        if other.count:
            self._merge(other.count, other.mean, other.squares)

    def _merge(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        total = self.count + count
        difference = mean - self.mean
        self.mean = self.mean + difference * (count / total)
        self.squares = self.squares + squares + difference**2 * (self.count / total * count)
        self.count = total

    def normalisation(self) -> Normalisation:
        """Return the standardisation by what was seen so far (population std).

        Raises
        ------
        ValueError
            If nothing was seen yet.
        """
        if self.count == 0:
            raise ValueError("no values seen yet; call update() with the first task first")
        return Normalisation(mean=self.mean, std=np.sqrt(self.squares / self.count))


def _check_components(values: np.ndarray, components: int) -> None:
    """Raise ValueError unless axis 1 of the values is the components."""
    if values.ndim < 2 or values.shape[1] != components:
        raise ValueError(
            f"values of shape {values.shape} arrived; expected (n, {components}, ...), with the "
            "components on axis 1 (for a single volume, add an axis: values[None])"
        )
