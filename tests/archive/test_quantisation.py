"""Fewer bits a number: errors within half a step, and no value beyond its range in silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from insituml.archive.quantisation import int8_scale, to_float16, to_int8

SIZES = np.array([1e-12, 3.0, 5e11, 0.0])


def values(rows: int = 50, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(SIZES * np.random.default_rng(seed).normal(size=(rows, 4))).float()


@pytest.mark.parametrize("levels", [127, 31, 1])
def test_each_latent_is_off_by_half_its_own_step_at_most(levels: int) -> None:
    x = values()
    scale = int8_scale(x, levels=levels)
    numbers = to_int8(x, scale)
    for column, step, stored in zip(x.numpy().T, scale.tolist(), numbers.numpy().T, strict=True):
        largest = float(np.abs(column).max())
        assert stored.dtype == np.int8
        assert largest / levels <= step <= 1.01 * largest / levels or largest == 0
        assert np.abs(stored).max() <= levels
        np.testing.assert_allclose(stored * step, column, rtol=0, atol=0.5001 * step)


def test_a_step_takes_two_bytes() -> None:
    scale = int8_scale(values())
    assert torch.equal(scale.bfloat16().float(), scale)
    assert scale[3] == 1  # of nothing but zeros


def test_with_sensitivities_a_step_of_any_entry_does_the_same() -> None:
    x, sensitivity = values(), torch.tensor([1.0, 4.0, 0.5, 2.0])
    steps = int8_scale(x, sensitivity=sensitivity) * sensitivity
    np.testing.assert_allclose(steps, steps[0], rtol=1e-2)
    largest = (x.abs().amax(dim=0) * sensitivity).max()
    np.testing.assert_allclose(steps[0], largest / 127, rtol=1e-2)
    assert to_int8(x, int8_scale(x, sensitivity=sensitivity)).abs().max() <= 127
    for wrong in (torch.ones(3), torch.zeros(4)):
        with pytest.raises(ValueError, match=r"sensitivity of shape .* expected 4 numbers above 0"):
            int8_scale(x, sensitivity=wrong)


def test_other_axes_have_steps_too() -> None:
    x = values().T.reshape(4, 5, 10)
    scale = int8_scale(x, axis=0)
    assert torch.equal(scale, int8_scale(values()))
    assert torch.equal(to_int8(x, scale, axis=0).reshape(4, 50), to_int8(values(), scale).T)


def test_values_beyond_the_range_are_refused_not_clipped() -> None:
    scale = int8_scale(values())
    x = values()
    x[7, 1] = 2 * 127 * scale[1]
    with pytest.raises(ValueError, match=r"entry 1 along axis 1 reaches .*int8 at its scale of"):
        to_int8(x, scale)
    with pytest.raises(ValueError, match=r"values reach .*beyond float16"):
        to_float16(values())
    assert to_float16(values()[:, :2]).dtype == torch.float16


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(wrong: float) -> None:
    x = torch.tensor([[1.0, wrong]])
    for quantise in (int8_scale, to_float16, lambda v: to_int8(v, torch.ones(2))):
        with pytest.raises(ValueError, match="1 of 2 values are NaN or infinite"):
            quantise(x)


def test_scales_and_levels_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"scale of shape \(3,\) arrived; .* have 4 entries"):
        to_int8(values(), torch.ones(3))
    for levels in (0, 128):
        with pytest.raises(ValueError, match=f"levels is {levels}; expected between 1 and 127"):
            int8_scale(values(), levels=levels)
    with pytest.raises(ValueError, match=r"values reach 1e\+300, beyond float32"):
        int8_scale(torch.full((2, 2), 1e300, dtype=torch.float64))
    with pytest.raises(ValueError, match="no values to scale"):
        int8_scale(torch.ones(0, 3))
