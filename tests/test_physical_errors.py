"""Errors in physical units, against float64 over whole arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch import nn

from insituml.data import Normalisation
from insituml.data.task import Task
from insituml.evaluation import held_out_physical_errors, loss_matrix, physical_loss_matrix
from insituml.learner import ContinualLearner
from insituml.physical_errors import PhysicalScale
from insituml.structural_similarity import structural_similarity


class Damped(ContinualLearner):
    """Gives back ``factor`` times what it gets."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def encode(self, x):
        return x

    def decode(self, latent):
        return self.factor * latent


NAMES, UNITS = ("Ex", "Ey", "Bz"), ("V/m", "V/m", "T")


def make_task(shape: tuple[int, ...], seed: int = 0) -> tuple[Task, Normalisation]:
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    scale = Normalisation(np.array([1e9, 0.0, -3.0])[: shape[1]], [4e10, 2e9, 5.0][: shape[1]])
    return Task(0, "task", (values[:0],), (values,)), scale


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("units", [("V/m",) * 3, UNITS])
def test_numbers_are_those_of_whole_arrays_in_their_unit(units, batch_size) -> None:
    task, scale = make_task((7, 3, 4, 5))
    means = PhysicalScale.of(task.test[0], NAMES, units, scale)
    found = held_out_physical_errors(Damped(0.75), task, means, batch_size=batch_size)
    normalised = task.test[0].double().numpy()
    std, mean = (v.astype(float)[:, None, None] for v in (scale.std, scale.mean))
    x, y = normalised * std + mean, 0.75 * normalised * std + mean
    error = np.moveaxis(y - x, 1, 0).reshape(3, -1)
    values = np.moveaxis(x, 1, 0).reshape(3, -1)
    relative = np.linalg.norm(error, axis=1) / np.linalg.norm(values, axis=1)
    rmse = np.sqrt((error**2).mean(axis=1))
    shares = rmse / np.ptp(values, axis=1)
    for c, name in enumerate(NAMES):
        assert found[f"relative_l2.{name}"] == pytest.approx(relative[c])
        assert found[f"rmse.{name}"] == pytest.approx(rmse[c])
        assert found[f"max_error.{name}"] == pytest.approx(np.abs(error[c]).max())
        assert found[f"psnr.{name}"] == pytest.approx(-20 * math.log10(shares[c]))
    assert next(iter(found)) == "relative_l2"
    assert found["psnr"] == pytest.approx(-10 * math.log10((shares**2).mean()))
    assert found["mse"] == pytest.approx((0.25 * normalised**2).mean() * 0.25)
    if units == UNITS:  # volts and teslas have no common norm
        assert found["relative_l2"] == pytest.approx(math.sqrt((relative**2).mean()))
        assert math.isnan(found["rmse"])
        assert math.isnan(found["max_error"])
    else:
        whole = np.linalg.norm(error) / np.linalg.norm(values)
        assert found["relative_l2"] == pytest.approx(whole)
        assert found["rmse"] == pytest.approx(math.sqrt((error**2).mean()))
        assert found["max_error"] == pytest.approx(np.abs(error).max())


def test_an_almost_empty_sample_does_not_rule() -> None:
    values = torch.tensor([[[1.0, -1.0]], [[1e-6, 0.0]]])
    task = Task(0, "task", (values[:0],), (values,))
    scale = PhysicalScale.of(values, ("Ex",), ("V/m",), Normalisation([0.0], [1.0]))

    class Misses(Damped):
        def decode(self, latent):
            return latent + 0.1 * self.factor

    found = held_out_physical_errors(Misses(1.0), task, scale)
    assert found["relative_l2"] == pytest.approx(math.sqrt(0.04 / 2))
    assert not any("." in name for name in found)  # one component is all


def test_what_is_not_defined_is_no_number() -> None:
    values = torch.randn(3, 3, 8, generator=torch.Generator().manual_seed(0))
    values[:, 1] = 0  # no field at all
    values[:, 2] = 2  # constant
    task = Task(0, "task", (values[:0],), (values,))
    scale = PhysicalScale.of(values, NAMES, UNITS, Normalisation([0.0] * 3, [1.0] * 3))
    found = held_out_physical_errors(Damped(0.5), task, scale, similarity=True)
    assert math.isnan(found["relative_l2.Ey"])
    assert math.isnan(found["psnr.Ey"])
    assert found["relative_l2.Bz"] == pytest.approx(0.5)
    assert math.isnan(found["psnr.Bz"])
    assert found["relative_l2"] == pytest.approx(0.5)
    assert found["psnr"] == pytest.approx(found["psnr.Ex"])
    assert math.isnan(found["ssim"])  # of lines there is none
    exact = held_out_physical_errors(Damped(1.0), task, scale)
    assert exact["relative_l2"] == 0
    assert exact["psnr"] == math.inf
    diverged = held_out_physical_errors(Damped(math.nan), task, scale)
    assert all(math.isnan(diverged[name]) for name in ("relative_l2", "psnr", "max_error.Ex"))


def test_matrices_have_similarity_in_the_last_row_and_the_same_normalised_errors() -> None:
    (first, scale), (second, _) = make_task((3, 2, 8, 9)), make_task((2, 2, 8, 9), seed=1)
    tasks, learners = [first, second], [Damped(0.9), Damped(0.5)]
    scales = [PhysicalScale.of(t.test[0], NAMES[:2], UNITS[:2], scale) for t in tasks]
    found = physical_loss_matrix(learners, tasks, scales)
    for name, matrix in loss_matrix(learners, tasks).items():
        np.testing.assert_array_equal(found[name], matrix)
    assert np.isnan(found["ssim"][0]).all()
    assert np.isfinite(found["ssim"][1]).all()
    without = physical_loss_matrix(learners, tasks, scales, similarity=False)
    assert np.isnan(without["ssim"]).all()


def similarity_by_filters(x: np.ndarray, y: np.ndarray, range_: float) -> float:
    """Wang's formula with means over windows of 7 points, mirrored at the edges."""

    def mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, 7, mode="mirror")

    c1, c2 = (0.01 * range_) ** 2, (0.03 * range_) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    index = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(index.mean())


@pytest.mark.parametrize("grid", [(9, 12), (8, 11, 7)])
def test_similarity_is_of_each_component_in_parts_of_its_range(grid) -> None:
    task, scale = make_task((3, 2, *grid))
    means = PhysicalScale.of(task.test[0], NAMES[:2], UNITS[:2], scale)
    found = held_out_physical_errors(Damped(0.6), task, means, similarity=True, batch_size=2)
    x = task.test[0].double().numpy()
    std, mean = (v.astype(float).reshape(2, *(1,) * len(grid)) for v in (scale.std, scale.mean))
    x, y = x * std + mean, 0.6 * x * std + mean
    for c in range(2):
        range_ = np.ptp(x[:, c])
        expected = [
            similarity_by_filters(a, b, range_) for a, b in zip(x[:, c], y[:, c], strict=True)
        ]
        assert found[f"ssim.{NAMES[c]}"] == pytest.approx(np.mean(expected), rel=1e-4)
    both = [found[f"ssim.{name}"] for name in NAMES[:2]]
    assert found["ssim"] == pytest.approx(np.mean(both))


@pytest.mark.parametrize("shape", [(2, 20), (1, 6, 20), (1, 9, 9, 6)])
def test_samples_that_do_not_hold_the_window_have_no_similarity(shape) -> None:
    x = torch.zeros(2, *shape)
    with pytest.raises(ValueError, match=r"axes of at least 7 points; choose larger chunks"):
        structural_similarity(x, x)
