"""What the figures share in reading their arrays: shapes, names, and statistics over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike


def square_matrix(matrix: ArrayLike, name: str = "matrix") -> np.ndarray:
    """Return a ``(K, K)`` float array, or say what arrived instead."""
    values = np.asarray(matrix, dtype=float)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.size == 0:
        raise ValueError(f"{name} must have shape (K, K), got {values.shape}")
    return values


def square_matrices(matrices: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Return each method's ``(K, K)`` matrix, all of the same K."""
    arrays = {
        name: square_matrix(matrix, f"matrices[{name!r}]") for name, matrix in matrices.items()
    }
    _one_shape({name: array.shape for name, array in arrays.items()}, "matrices")
    return arrays


def seed_matrices(matrices: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Return each method's ``(seeds, K, K)`` array, all of the same K."""
    arrays = {name: np.asarray(matrix, dtype=float) for name, matrix in matrices.items()}
    for name, array in arrays.items():
        if array.ndim != 3 or array.shape[1] != array.shape[2] or array.size == 0:
            hint = "; add a first axis for the seeds" if array.ndim == 2 else ""
            raise ValueError(
                f"matrices[{name!r}] must have shape (seeds, K, K), got {array.shape}{hint}"
            )
    _one_shape({name: array.shape[1:] for name, array in arrays.items()}, "matrices")
    return arrays


def names_of(names: Sequence[str] | None, count: int, what: str = "task_names") -> list[str]:
    """Return ``count`` names: those given, or the numbers from 0."""
    if names is None:
        return [str(index) for index in range(count)]
    if isinstance(names, str) or len(names) != count:
        arrived = repr(names) if isinstance(names, str) else f"{len(names)}: {list(names)}"
        raise ValueError(f"{what} must hold {count} names, got {arrived}")
    return [str(name) for name in names]


def shown_places(count: int, most: int = 6) -> list[int]:
    """Return which of ``count`` rows or columns are drawn: the first, the last, some between."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def every_nth(count: int, most: int) -> list[int]:
    """Return evenly spaced places of ``count``, no more than ``most``, for ticks with names."""
    return list(range(0, count, -(-count // max(1, most))))


def mean_and_band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean over the first axis (seeds), and it less and plus one standard deviation.

    What is not finite is passed over; of a single value there is no spread. Where all values are
    positive, as errors are, the lower end is at least the smallest of them: a band that reaches
    below zero says nothing, and has no place on a logarithmic axis.
    """
    masked = np.ma.masked_invalid(np.atleast_2d(values))
    mean = np.ma.filled(masked.mean(axis=0).astype(float), np.nan)
    several = np.ma.count(masked, axis=0) > 1
    least = np.ma.filled(masked.min(axis=0).astype(float), np.nan)
    spread = np.zeros_like(mean)
    if several.any():
        spread[several] = np.ma.filled(masked[:, several].std(axis=0, ddof=1), 0.0)
    low = mean - spread
    low = np.where((least > 0) & (low <= 0), least, low)
    return mean, low, mean + spread


def _one_shape(shapes: Mapping[str, tuple[int, ...]], what: str) -> None:
    if not shapes:
        raise ValueError(f"{what} is empty; give at least one method")
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{what} must agree in their number of tasks, got {dict(shapes)}")
