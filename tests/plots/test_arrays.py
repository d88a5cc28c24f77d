import numpy as np
import pytest

from insituml.plots.arrays import mean_and_range, names_of, seed_matrices, square_matrices


def test_statistics_pass_over_nan() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    mean, low, high = mean_and_range(values)
    np.testing.assert_array_equal(mean, [2, 5, np.nan])
    np.testing.assert_array_equal(low, [1, 5, np.nan])
    np.testing.assert_array_equal(high, [3, 5, np.nan])


def test_statistics_equal_numpy_without_nan() -> None:
    values = np.random.default_rng(0).normal(size=(4, 7))
    mean, low, high = mean_and_range(values)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_array_equal(low, values.min(axis=0))
    np.testing.assert_array_equal(high, values.max(axis=0))


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
