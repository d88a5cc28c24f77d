"""Whether methods differ: paired differences over seeds, and ranks over experiments and seeds.

Methods trained with one seed share initial weights and order of the samples, so their errors are
paired: what a seed makes easy or hard for all of them cancels in the difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.05
"""Chance of a difference where there is none, over all comparisons of a table."""

Verdict = Literal["better", "worse", "on a par", "diverged", ""]


@dataclass(frozen=True)
class Difference:
    """How one method differs from the reference, over seeds.

    Parameters
    ----------
    mean
        Its error less the reference's; positive: it is worse. NaN where a seed is not finite.
    low, high
        Interval of confidence of this mean alone; NaN for one seed.
    p
        Of the paired t test, two-sided; NaN for one seed.
    p_holm
        The same, corrected for all comparisons with this reference.
    """

    mean: float
    low: float
    high: float
    p: float
    p_holm: float

    def verdict(self, level: float = LEVEL) -> Verdict:
        """Say what the comparison says; nothing (an empty word) of one seed."""
        if math.isnan(self.mean):
            return "diverged"
        if math.isnan(self.p_holm):
            return ""
        if self.p_holm >= level:
            return "on a par"
        return "better" if self.mean < 0 else "worse"


def compare_with(
    reference: str, errors: Mapping[str, ArrayLike], *, confidence: float = 1 - LEVEL
) -> dict[str, Difference]:
    """Return the difference of every other method from a reference.

    With the 3 to 10 seeds that trainings allow, resampling fails: a bootstrap of so few values is
    too narrow, and exact tests by ranks or signs cannot reach 5 % at all, see
    :func:`smallest_exact_p`. The t interval holds for any number of seeds, if differences over
    seeds are about normal.

    Parameters
    ----------
    reference
        One of the methods.
    errors
        By method ``(seeds,)``, lower is better, the same seeds in the same order.
    confidence
        Of the intervals.

    Raises
    ------
    ValueError
        If the reference is missing, or methods have different numbers of seeds.
    """
    arrays = {name: np.asarray(values, dtype=float) for name, values in errors.items()}
    if reference not in arrays:
        raise ValueError(f"reference {reference!r} is not among {', '.join(arrays)}")
    if len({array.shape for array in arrays.values()}) > 1 or arrays[reference].ndim != 1:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"errors have shapes {shapes}; expected one error a seed, for each method")
    others = [name for name in arrays if name != reference]
    found = [_paired(arrays[name], arrays[reference], confidence) for name in others]
    corrected = holm([p for *_, p in found])
    return {
        name: Difference(*numbers, float(p))
        for name, numbers, p in zip(others, found, corrected, strict=True)
    }


def _paired(
    own: np.ndarray, other: np.ndarray, confidence: float
) -> tuple[float, float, float, float]:
    """Return mean difference, both ends of its interval, and p."""
    from scipy.stats import t

    nothing = math.nan
    if not (np.isfinite(own).all() and np.isfinite(other).all()):
        return nothing, nothing, nothing, nothing
    differences = own - other
    mean, count = float(differences.mean()), len(differences)
    if count < 2:
        return mean, nothing, nothing, nothing
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    # Methods that no seed moves differ by the same amount each time, up to rounding.
    if error <= 1e-12 * float(np.abs([own, other]).max()):
        return mean, mean, mean, 1.0 if abs(mean) <= error else 0.0
    half = float(t.ppf((1 + confidence) / 2, count - 1)) * error
    return mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, count - 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values corrected for their number, NaN where there is none.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 1979.
    """
    p = np.asarray(p_values, dtype=float)
    corrected = np.full_like(p, np.nan)
    order = [place for place in np.argsort(p, kind="stable") if not np.isnan(p[place])]
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[place]))
        corrected[place] = largest
    return corrected


def smallest_exact_p(seeds: int) -> float:
    """Return the smallest two-sided p that a test without a model of the noise can give.

    Of the ``2^n`` ways to give n differences a sign, two agree: ``2^(1 − n)``. Below six seeds
    this is above 5 %.
    """
    return min(1.0, 2.0 ** (1 - seeds))


def mean_ranks(errors: ArrayLike) -> np.ndarray:
    """Return the mean rank of each method, 1 being the lowest error; ties share their ranks.

    Parameters
    ----------
    errors
        ``(blocks, methods)``; what is not finite comes last.
    """
    from scipy.stats import rankdata

    table = np.asarray(errors, dtype=float)
    table = np.where(np.isfinite(table), table, np.inf)
    return np.asarray(rankdata(table, axis=1).mean(axis=0))


def friedman_p(errors: ArrayLike) -> float:
    """Return the p-value of Friedman's test that all methods rank alike; NaN for fewer than 3.

    Parameters
    ----------
    errors
        ``(blocks, methods)``, as for :func:`mean_ranks`.
    """
    from scipy.stats import friedmanchisquare

    table = np.asarray(errors, dtype=float)
    table = np.where(np.isfinite(table), table, np.finfo(float).max)
    if table.shape[1] < 3 or not np.ptp(table, axis=1).any():
        return math.nan
    return float(friedmanchisquare(*table.T).pvalue)


def critical_difference(methods: int, blocks: int, *, level: float = LEVEL) -> float:
    """Return by how much mean ranks must differ in the test of Nemenyi: all pairs at once.

    References
    ----------
    Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006.

    Raises
    ------
    ValueError
        If there are fewer than two methods, or no block.
    """
    from scipy.stats import studentized_range

    if methods < 2 or blocks < 1:
        raise ValueError(f"{methods} methods in {blocks} blocks; expected 2 methods and 1 block")
    q = float(studentized_range.ppf(1 - level, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def groups_on_a_par(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the largest groups of methods whose mean ranks lie within a critical difference.

    Parameters
    ----------
    ranks
        Ascending.
    difference
        Of :func:`critical_difference`.

    Returns
    -------
    list
        First and last place of each group of two methods or more.
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(k for k, other in enumerate(ranks) if other - rank <= difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
