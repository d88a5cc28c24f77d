"""The loss of structure: what it is, that samples do not mix in it, and where it cannot be used."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from insituml.gradients import diagonal_fisher, per_sample_losses
from insituml.gradients.sample_gradients import OneByOneWarning
from insituml.learner import ContinualLearner
from insituml.models import MLP, AutoEncoder2D, AutoEncoder3D
from insituml.reconstruction_loss import VALUE_RANGE, l1_ssim

SHAPES = {2: (2, 8, 12), 3: (2, 8, 8, 12)}


def samples(axes: int, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(axes)
    return torch.randn(count, *SHAPES[axes], generator=generator, dtype=torch.float64)


def learner(axes: int, **options) -> ContinualLearner:
    build = {2: AutoEncoder2D, 3: AutoEncoder3D}[axes]
    generator = torch.Generator().manual_seed(1)
    small = {"channels": (4,), "latent_size": 3, "loss": "l1_ssim", "generator": generator}
    return build(SHAPES[axes], **small, **options).double()


def by_filters(decoded: np.ndarray, original: np.ndarray) -> float:
    """One component of one sample: windows of 7 points, mirrored at the edges."""

    def mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, 7, mode="mirror")

    mx, my = mean(decoded), mean(original)
    vx, vy = mean(decoded**2) - mx**2, mean(original**2) - my**2
    covariance = mean(decoded * original) - mx * my
    c1, c2 = (0.01 * VALUE_RANGE) ** 2, (0.03 * VALUE_RANGE) ** 2
    index = (2 * mx * my + c1) / (mx**2 + my**2 + c1) * (2 * covariance + c2) / (vx + vy + c2)
    return float(index.mean())


@pytest.mark.parametrize("axes", [2, 3])
def test_the_loss_is_that_of_wang_and_the_mean_over_samples(axes) -> None:
    x = samples(axes)
    y = 0.7 * x + 0.2 * samples(axes).flip(0)
    similarities = [
        by_filters(b.numpy(), a.numpy())
        for a, b in zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)
    ]
    expected = (x - y).abs().mean() + 1 - np.mean(similarities)
    assert l1_ssim(y, x).item() == pytest.approx(expected.item(), rel=1e-9)
    alone = torch.stack([l1_ssim(b[None], a[None]) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(l1_ssim(y, x), alone.mean())
    assert l1_ssim(x, x).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_its_gradient_is_that_of_finite_differences(axes) -> None:
    x = samples(axes, 1)
    y = (0.5 * x + 0.1).requires_grad_()
    l1_ssim(y, x).backward()
    direction = samples(axes, 1).flip(-1)
    step = 1e-6 * direction
    with torch.no_grad():
        difference = (l1_ssim(y + step, x) - l1_ssim(y - step, x)) / 2e-6
    torch.testing.assert_close((y.grad * direction).sum(), difference, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("axes", [2, 3])
def test_fisher_information_is_exact(axes) -> None:
    """With a batch's own range of values, or means over it, a sample's gradient would be wrong."""
    model, x = learner(axes), samples(axes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OneByOneWarning)  # vmap can batch it
        found = diagonal_fisher(model, lambda m, batch: m.loss(batch), (x,))
        losses = per_sample_losses(model, lambda m, batch: m.loss(batch), (x,))
    twin = copy.deepcopy(model).eval()
    expected = {name: torch.zeros_like(p) for name, p in twin.named_parameters()}
    for n, sample in enumerate(x):
        twin.zero_grad()
        loss = twin.loss((sample[None],))
        loss.backward()
        assert losses[n].item() == pytest.approx(loss.item())
        for name, p in twin.named_parameters():
            expected[name] += p.grad**2 / len(x)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-14, msg=name)


def test_a_step_along_it_lowers_it() -> None:
    model, x = learner(3), samples(3)
    before = model.loss((x,))
    before.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 1e-3 * p.grad
    assert model.loss((x,)) < before


@pytest.mark.parametrize("shape", [(4,), (1, 6, 12), (1, 8, 8, 6)])
def test_samples_too_small_for_it_are_named(shape) -> None:
    model = MLP(shape, (5,), 2, loss="l1_ssim", generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=rf"samples of shape \({shape[0]},.* at least 7 points"):
        model.loss((torch.zeros(2, *shape),))
