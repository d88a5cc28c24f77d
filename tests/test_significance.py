"""Statistics of comparisons, against numbers worked out by hand, published tables and scipy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from insituml.significance import (
    Difference,
    compare_with,
    critical_difference,
    friedman_p,
    groups_on_a_par,
    holm,
    mean_ranks,
    smallest_exact_p,
)

# Demšar, JMLR 7 (2006), table 5a: two-tailed Nemenyi test at 5 %, by number of methods.
PUBLISHED = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102}
PUBLISHED[10] = 3.164


def errors(seeds: int) -> dict[str, np.ndarray]:
    """Methods that share what a seed adds: far more than what tells them apart."""
    rng = np.random.default_rng(3)
    of_seed = rng.normal(size=seeds)
    return {
        name: 5 + shift + of_seed + 0.01 * rng.normal(size=seeds)
        for name, shift in [("ewc", 0.0), ("agem", 0.001), ("naive", 0.5)]
    }


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_and_p_values_are_those_of_the_paired_t_test(seeds: int) -> None:
    table = errors(seeds)
    found = compare_with("ewc", table, confidence=0.9)
    assert list(found) == ["agem", "naive"]
    for name, difference in found.items():
        theirs = stats.ttest_rel(table[name], table["ewc"])
        interval = theirs.confidence_interval(0.9)
        assert difference.mean == pytest.approx((table[name] - table["ewc"]).mean())
        assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))
        assert difference.p == pytest.approx(theirs.pvalue)
    raw = sorted(d.p for d in found.values())
    assert sorted(d.p_holm for d in found.values()) == pytest.approx(
        sorted([min(1, 2 * raw[0]), max(min(1, 2 * raw[0]), raw[1])])
    )


def test_pairing_finds_what_the_spread_over_seeds_hides() -> None:
    table = errors(5)
    assert stats.ttest_ind(table["ewc"], table["naive"]).pvalue > 0.2
    verdicts = {name: d.verdict() for name, d in compare_with("ewc", table).items()}
    assert verdicts == {"agem": "on a par", "naive": "worse"}
    assert compare_with("naive", table)["ewc"].verdict() == "better"


def test_intervals_hold_the_true_difference_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        found = compare_with("a", {"a": np.zeros(5), "b": 1 + rng.normal(size=5)})["b"]
        held += found.low <= 1 <= found.high
    assert stats.binomtest(held, 2000, 0.95).pvalue > 1e-3


def test_one_seed_says_nothing() -> None:
    found = compare_with("ewc", {name: values[:1] for name, values in errors(3).items()})["naive"]
    assert math.isfinite(found.mean)
    assert all(map(math.isnan, (found.low, found.high, found.p, found.p_holm)))
    assert found.verdict() == ""


def test_what_no_seed_moves_and_what_diverged() -> None:
    table = {"a": [1.0, 2.0, 3.0], "same": [1.0, 2.0, 3.0], "shifted": [1.5, 2.5, 3.5]}
    table["broken"] = [1.0, math.inf, 2.0]
    found = compare_with("a", table)
    assert (found["same"].p, found["same"].verdict()) == (1.0, "on a par")
    assert (found["shifted"].low, found["shifted"].p) == (0.5, 0.0)
    assert found["broken"].verdict() == "diverged"
    assert found["shifted"].p_holm == 0.0


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; what would fall is held up.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.02]), [0.6, 0.04])
    np.testing.assert_allclose(holm([0.5, math.nan, 0.7]), [1.0, math.nan, 1.0])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("seeds", [1, 3, 5, 6])
def test_smallest_exact_p_by_all_signs(seeds: int) -> None:
    """Of differences that all agree, how many ways to sign them give a mean as large."""
    signed = [abs(sum(signs)) for signs in product((-1, 1), repeat=seeds)]
    assert smallest_exact_p(seeds) == signed.count(seeds) / len(signed)


@pytest.mark.parametrize("methods", PUBLISHED)
def test_critical_values_are_the_published_ones(methods: int) -> None:
    blocks = 14
    q = critical_difference(methods, blocks) / math.sqrt(methods * (methods + 1) / (6 * blocks))
    assert q == pytest.approx(PUBLISHED[methods], abs=1e-3)


def test_ranks_by_hand() -> None:
    table = [[0.1, 0.3, 0.2], [0.5, 0.5, 0.4], [math.nan, 0.1, 0.2]]
    np.testing.assert_allclose(mean_ranks(table), [(1 + 2.5 + 3) / 3, 6.5 / 3, 5 / 3])


def test_friedman_by_its_definition() -> None:
    table = np.random.default_rng(1).normal(size=(9, 4)) + np.arange(4) * 0.8
    ranks, (blocks, k) = mean_ranks(table), table.shape
    statistic = 12 * blocks / (k * (k + 1)) * ((ranks**2).sum() - k * (k + 1) ** 2 / 4)
    assert friedman_p(table) == pytest.approx(stats.chi2.sf(statistic, k - 1))
    assert math.isnan(friedman_p(table[:, :2]))
    assert math.isnan(friedman_p(np.ones((3, 3))))


def test_groups_within_a_critical_difference() -> None:
    assert groups_on_a_par([1.0, 1.5, 2.4, 4.0, 4.1], 1.0) == [(0, 1), (1, 2), (3, 4)]
    assert groups_on_a_par([1.0, 3.0], 1.0) == []
    assert groups_on_a_par([1.0, 1.5, 2.0], 5.0) == [(0, 2)]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="reference 'ewc' is not among agem"):
        compare_with("ewc", {"agem": [1.0]})
    with pytest.raises(ValueError, match="expected one error a seed"):
        compare_with("a", {"a": [1.0, 2.0], "b": [1.0]})
    with pytest.raises(ValueError, match="1 methods in 3 blocks"):
        critical_difference(1, 3)


def test_a_level_may_be_chosen() -> None:
    assert Difference(0.1, 0.0, 0.2, 0.01, 0.07).verdict(0.1) == "worse"
