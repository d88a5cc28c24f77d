"""Running moments equal the two-pass ones; standardising and back is the identity."""

import numpy as np
import pytest

from insituml.data.normalisation import Normalisation, RunningMoments

OFFSETS = np.array([0.0, 1e6, -3e11])[:, None, None]
SCALES = np.array([1e-3, 1.0, 1e9])[:, None, None]


@pytest.fixture
def values() -> np.ndarray:
    return OFFSETS + SCALES * np.random.default_rng(0).normal(size=(40, 3, 4, 5))


def moments(*batches: np.ndarray) -> RunningMoments:
    running = RunningMoments(batches[0].shape[1])
    for batch in batches:
        running.update(batch)
    return running


def assert_same(running: RunningMoments, values: np.ndarray) -> None:
    assert running.count == values.size // values.shape[1]
    np.testing.assert_allclose(running.mean, values.mean(axis=(0, 2, 3)), rtol=1e-12, atol=1e-15)
    variance = running.squares / running.count
    np.testing.assert_allclose(variance, values.var(axis=(0, 2, 3)), rtol=1e-9)


@pytest.mark.parametrize("size", [1, 7, 40])
def test_batches_give_the_two_pass_moments(values: np.ndarray, size: int) -> None:
    batches = [values[i : i + size] for i in range(0, 40, size)]
    assert_same(moments(*batches), values)


def test_order_does_not_matter(values: np.ndarray) -> None:
    batches = np.split(values, [1, 5, 20])
    assert_same(moments(*batches[::-1]), values)


def test_merging_equals_updating(values: np.ndarray) -> None:
    left, right = moments(values[:13]), moments(values[13:20], values[20:])
    both, swapped = RunningMoments(3), moments(values[13:])
    both.merge(left)
    both.merge(right)
    swapped.merge(left)
    both.merge(RunningMoments(3))
    assert_same(both, values)
    assert_same(swapped, values)
    assert_same(right, values[13:])


def test_a_large_mean_cancels_nothing() -> None:
    noise = np.random.default_rng(1).normal(size=(1000, 1))
    running = moments(*np.split(1e9 + noise, 10))
    assert running.squares[0] / 1000 == pytest.approx(noise.var(), rel=1e-6)


def test_single_precision_input_is_summed_in_double() -> None:
    values = np.float32(1e12) * np.random.default_rng(2).normal(size=(64, 1, 4096))
    values = values.astype(np.float32)
    running = moments(*np.split(values, 8))
    exact = values.astype(np.float64)
    assert running.mean[0] == pytest.approx(exact.mean(), rel=1e-9)
    assert running.squares[0] / running.count == pytest.approx(exact.var(), rel=1e-12)


def test_standardised_values_have_mean_0_and_std_1(values: np.ndarray) -> None:
    scaled = moments(values).normalisation().apply(values)
    rounding = np.finfo(np.float32).eps * np.abs(OFFSETS / SCALES).ravel()
    assert (np.abs(scaled.mean(axis=(0, 2, 3))) <= rounding + 1e-7).all()
    np.testing.assert_allclose(scaled.std(axis=(0, 2, 3)), 1, rtol=1e-6)


@pytest.mark.parametrize("trailing", [(), (4,), (4, 5), (2, 3, 4)])
def test_invert_undoes_apply(trailing: tuple[int, ...]) -> None:
    normalisation = Normalisation(np.array([1.0, -2e11]), np.array([3.0, 5e10]))
    values = np.random.default_rng(3).normal(size=(6, 2, *trailing)).astype(np.float32)
    scaled = normalisation.apply(normalisation.invert(values))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, values, atol=2e-6)


def test_each_component_has_its_own_scale() -> None:
    normalisation = Normalisation(np.array([1.0, 10.0]), np.array([2.0, 5.0]))
    scaled = normalisation.apply(np.array([[[3.0], [0.0]]], dtype=np.float32))
    assert scaled.tolist() == [[[1.0], [-2.0]]]


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e11])
def test_a_constant_component_becomes_zero_and_comes_back(constant: float) -> None:
    values = np.full((3, 1, 1000), constant, dtype=np.float32)
    normalisation = moments(values[:1], values[1:]).normalisation()
    assert normalisation.std.tolist() == [1.0]
    assert not normalisation.apply(values).any()
    np.testing.assert_array_equal(normalisation.invert(normalisation.apply(values)), values)


def test_a_spread_below_the_rounding_of_the_mean_counts_as_constant() -> None:
    normalisation = Normalisation(np.array([1e6, 1e6, 0.0]), np.array([1e-3, 1.0, 1e-3]))
    assert normalisation.std.tolist() == pytest.approx([1.0, 1.0, 1e-3])


def test_normalisation_is_frozen_and_single_precision() -> None:
    mean = np.array([1.0])
    normalisation = Normalisation(mean, np.array([2.0]))
    mean[0] = 7
    assert normalisation.mean.tolist() == [1.0]
    assert normalisation.mean.dtype == normalisation.std.dtype == np.float32
    with pytest.raises(AttributeError):
        normalisation.mean = mean  # type: ignore[misc]


def test_empty_batch_changes_nothing(values: np.ndarray) -> None:
    assert_same(moments(values, values[:0]), values)


def test_errors(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no values seen yet"):
        RunningMoments(3).normalisation()
    with pytest.raises(ValueError, match="components=0"):
        RunningMoments(0)
    with pytest.raises(ValueError, match=r"expected \(n, 2, ...\).*values\[None\]"):
        RunningMoments(2).update(values)
    with pytest.raises(ValueError, match=r"expected \(n, 3, ...\)"):
        moments(values).normalisation().apply(values[0])
    with pytest.raises(ValueError, match="3 components arrived; expected 2"):
        RunningMoments(2).merge(moments(values))
    with pytest.raises(ValueError, match=r"both must be \(components,\)"):
        Normalisation(np.zeros(3), np.ones(2))
    with pytest.raises(ValueError, match="not below 0"):
        Normalisation(np.zeros(1), -np.ones(1))


def test_a_value_that_is_not_finite_leaves_the_moments_unchanged(values: np.ndarray) -> None:
    running = moments(values)
    bad = values.copy()
    bad[3, 1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        running.update(bad)
    assert_same(running, values)
