import numpy as np
import pytest

from insituml.plots.arrays import (
    every_nth,
    mean_and_band,
    names_of,
    seed_matrices,
    shown_places,
    square_matrices,
)


def test_statistics_pass_over_what_is_not_finite() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.inf]])
    mean, low, high = mean_and_band(values)
    np.testing.assert_array_equal(mean, [2, 5, np.nan])
    np.testing.assert_allclose(low, [2 - np.sqrt(2), 5, np.nan])
    np.testing.assert_allclose(high, [2 + np.sqrt(2), 5, np.nan])


def test_bands_are_one_standard_deviation_wide() -> None:
    values = np.random.default_rng(0).normal(size=(4, 7))
    mean, low, high = mean_and_band(values)
    spread = values.std(axis=0, ddof=1)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose(low, values.mean(axis=0) - spread)
    np.testing.assert_allclose(high, values.mean(axis=0) + spread)


def test_bands_of_positive_values_stay_positive() -> None:
    values = np.array([[0.01, 1.0], [10.0, 1.2]])
    _, low, _ = mean_and_band(values)
    assert low[0] == 0.01
    assert low[1] == pytest.approx(1.1 - np.sqrt(0.02))


def test_one_seed_has_no_band() -> None:
    mean, low, high = mean_and_band(np.array([[1.0, 2.0]]))
    assert list(mean) == list(low) == list(high) == [1.0, 2.0]


@pytest.mark.parametrize(
    "count, most, places", [(5, 6, [0, 1, 2, 3, 4]), (30, 6, [0, 6, 12, 17, 23, 29]), (1, 6, [0])]
)
def test_shown_places_hold_the_first_and_the_last(count, most, places) -> None:
    assert shown_places(count, most) == places


@pytest.mark.parametrize("count", [1, 2, 7, 30, 31])
def test_ticks_are_evenly_spaced(count) -> None:
    places = every_nth(count, 6)
    assert len(places) <= 6
    assert len(set(np.diff(places))) <= 1


def test_names_default_to_numbers() -> None:
    assert names_of(None, 3) == ["0", "1", "2"]


@pytest.mark.parametrize("names", [["a"], "ab"])
def test_wrong_names(names: list[str] | str) -> None:
    with pytest.raises(ValueError, match="task_names must hold 2 names, got"):
        names_of(names, 2)


def test_a_missing_seed_axis_is_pointed_out() -> None:
    with pytest.raises(ValueError, match=r"'ewc'.*\(seeds, K, K\), got \(3, 3\); add a first axis"):
        seed_matrices({"ewc": np.eye(3)})


def test_methods_must_agree_in_tasks() -> None:
    with pytest.raises(ValueError, match=r"agree.*\(2, 2\).*\(3, 3\)"):
        square_matrices({"a": np.eye(2), "b": np.eye(3)})


def test_no_method() -> None:
    with pytest.raises(ValueError, match="at least one method"):
        square_matrices({})
