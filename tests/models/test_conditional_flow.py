"""The conditional flow: invertible, normalised, and its samples follow its density."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn.functional import one_hot

from insituml import load_checkpoint
from insituml.gradients import diagonal_fisher
from insituml.models import ConditionalFlow


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bent(*sizes, seed: int = 3, scale: float = 0.5, **options) -> ConditionalFlow:
    """A flow that is far from the identity: all weights are drawn, the last layers' too."""
    flow = ConditionalFlow(*sizes, generator=seeded(seed), **options)
    generator = seeded(seed)
    for parameter in flow.parameters():
        deviation = scale / math.sqrt(parameter.shape[-1]) if parameter.dim() > 1 else 0.2
        nn.init.normal_(parameter, std=deviation, generator=generator)
    return flow


def points(count: int, shape=(2,), condition_size: int = 3, spread: float = 2.0, seed: int = 0):
    generator = seeded(seed)
    x = spread * torch.randn(count, *shape, generator=generator)
    return x, 2 * torch.rand(count, condition_size, generator=generator)


SHAPES = [(1,), (2,), (3,), (5,), (1, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_there_and_back_again(shape) -> None:
    flow, (x, condition) = bent(shape, 3), points(500, shape)
    z = flow.output((x, condition))[:, :-1]
    assert z.shape == (500, math.prod(shape))
    assert (z - x.flatten(1)).abs().mean() > 0.1  # it does something
    back = flow.inverse(z, condition)
    assert back.shape == x.shape
    assert (back - x).abs().max() < 1e-5
    flow = flow.double()
    z = flow.output((x.double(), condition.double()))[:, :-1]
    assert (flow.inverse(z, condition.double()) - x.double()).abs().max() < 1e-12


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_log_determinant_is_that_of_the_jacobian(shape) -> None:
    flow = bent(shape, 3).double()
    x, condition = (part.double() for part in points(6, shape))
    size = math.prod(shape)
    output = flow.output((x, condition))
    for k in range(len(x)):

        def z_of(flat: torch.Tensor, k: int = k) -> torch.Tensor:
            return flow.output((flat.view(1, *shape), condition[k : k + 1]))[0, :-1]

        jacobian = torch.autograd.functional.jacobian(z_of, x[k].flatten())
        assert jacobian.shape == (size, size)
        expected = torch.linalg.slogdet(jacobian).logabsdet
        assert output[k, -1].item() == pytest.approx(expected.item(), abs=1e-10)


def test_density_is_that_of_the_transformed_gaussian_and_the_loss_its_mean() -> None:
    flow = bent(2, 3).double()
    x, condition = (part.double() for part in points(20))
    output = flow.output((x, condition)).detach().numpy()
    expected = stats.norm.logpdf(output[:, :-1]).sum(axis=1) + output[:, -1]
    density = flow.log_prob(x, condition)
    np.testing.assert_allclose(density.detach(), expected, rtol=1e-12)
    loss = flow.loss((x, condition))
    assert loss.item() == pytest.approx(-expected.mean(), rel=1e-12)
    (metric, errors), *others = flow.errors((x, condition)).items()
    assert (metric, others) == ("nll", [])
    assert torch.equal(errors, -density)
    assert torch.equal(flow.latents((x, condition)), torch.from_numpy(output)[:, :-1])


@pytest.mark.parametrize("seed", [3, 4])
def test_density_integrates_to_one(seed: int) -> None:
    flow = bent(2, 3, seed=seed, couplings=3, hidden_sizes=(16,), scale=0.8).double()
    condition = points(1)[1].double()
    # Where the mass lies is where the samples fall.
    samples = flow.sample((condition.expand(2000, -1),), generator=seeded(1))
    low, high = samples.amin(0) - 2.5, samples.amax(0) + 2.5
    axes = [torch.linspace(a, b, 501, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
    grid = torch.cartesian_prod(*axes)
    with torch.no_grad():
        density = flow.log_prob(grid, condition.expand(len(grid), -1)).exp()
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    assert float(density.sum() * cell) == pytest.approx(1, abs=5e-3)
    # And no Gaussian, for which the integral would be a test of nothing.
    assert stats.normaltest(samples[:, 1]).pvalue < 1e-3


def test_samples_are_the_inverse_of_standard_normal_numbers() -> None:
    flow = bent(2, 3)
    condition = points(4000)[1]
    samples = flow.sample((condition,), generator=seeded(6))
    z = flow.output((samples, condition))[:, :-1].detach()
    expected = torch.randn(4000, 2, generator=seeded(6))
    assert (z - expected).abs().max() < 1e-3
    for column in z.numpy().T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert not samples.requires_grad


def test_a_trained_flow_samples_the_distribution_of_each_condition() -> None:
    """Two conditions: a ring of four clusters, and one skewed cloud."""
    generator = seeded(0)
    which = torch.arange(3000) % 2
    angle = torch.randint(4, (3000,), generator=generator) * (math.pi / 2)
    ring = 1.5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    ring = ring + 0.2 * torch.randn(3000, 2, generator=generator)
    skewed = torch.rand(3000, 2, generator=generator).log() * torch.tensor([0.5, 0.2]) + 2
    x = torch.where(which[:, None] == 0, ring, skewed)
    condition = one_hot(which).float()

    flow = ConditionalFlow(2, 2, couplings=4, hidden_sizes=(32, 32), generator=seeded(0))
    before = flow.loss((x, condition)).item()
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        rows = torch.randint(len(x), (128,), generator=generator)
        optimizer.zero_grad()
        flow.loss((x[rows], condition[rows])).backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    assert flow.loss((x, condition)).item() < before - 1

    samples = flow.sample((condition,), generator=seeded(1))
    for label, truth in ((0, ring[which == 0]), (1, skewed[which == 1])):
        drawn = samples[which == label]
        assert (drawn.mean(0) - truth.mean(0)).abs().max() < 0.15
        assert torch.allclose(drawn.T.cov(), truth.T.cov(), atol=0.2)
        for column in range(2):
            distance = stats.ks_2samp(drawn[:, column], truth[:, column]).statistic
            assert distance < 0.1, (label, column)


def test_an_untrained_flow_is_the_identity() -> None:
    x, condition = points(50)
    output = ConditionalFlow(2, 3).output((x, condition))
    torch.testing.assert_close(output[:, :-1], x, atol=1e-5, rtol=0)
    torch.testing.assert_close(output[:, -1], torch.zeros(50), atol=1e-5, rtol=0)


def test_weights_and_samples_follow_from_their_generators_alone() -> None:
    state = torch.get_rng_state()
    one, two, other = (ConditionalFlow(2, 3, generator=seeded(k)).state_dict() for k in (1, 1, 2))
    condition = points(30)[1]
    flow = bent(2, 3)
    drawn = [flow.sample((condition,), generator=seeded(k)) for k in (5, 5, 6)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert torch.equal(flow.sample((condition,), generator=seeded(5)), drawn[0])


def test_checkpoint_round_trip(tmp_path) -> None:
    flow = bent((2,), 3, couplings=3, hidden_sizes=(5, 6), bins=4, condition_scale=2.0)
    loaded = load_checkpoint(flow.save_checkpoint(tmp_path, "flow", after_task=0))
    assert str(loaded) == str(flow)
    assert loaded.condition_scale == 2.0
    x, condition = points(10)
    assert torch.equal(loaded.output((x, condition)), flow.output((x, condition)))


def test_condition_is_divided_by_its_scale() -> None:
    one, ten = bent(2, 3), bent(2, 3, condition_scale=10.0)
    x, condition = points(10)
    torch.testing.assert_close(ten.output((x, 10 * condition)), one.output((x, condition)))
    whole = torch.arange(10)[:, None] * torch.ones(1, 3, dtype=torch.int64)
    assert torch.equal(one.output((x, whole)), one.output((x, whole.float())))
    # A condition of one number may come without its second dimension.
    narrow = bent(2, 1)
    column = condition[:, :1]
    assert torch.equal(narrow.output((x, column[:, 0])), narrow.output((x, column)))


@pytest.mark.parametrize("chunk_size", [1, 7])
def test_fisher_information_equals_the_loop_over_samples(chunk_size: int) -> None:
    flow = bent(2, 3, couplings=2, hidden_sizes=(6, 5), bins=3).double()
    batch = tuple(part.double() for part in points(12))
    expected = {name: torch.zeros_like(p) for name, p in flow.named_parameters()}
    for k in range(12):
        loss = flow.loss(tuple(part[k : k + 1] for part in batch))
        gradients = torch.autograd.grad(loss, list(flow.parameters()))
        for total, gradient in zip(expected.values(), gradients, strict=True):
            total += gradient.square() / 12
    fisher = diagonal_fisher(
        flow, lambda module, part: module.loss(part), batch, chunk_size=chunk_size
    )
    assert fisher.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(fisher[name], value, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "use, message",
    [
        (lambda: ConditionalFlow(2, 0), "condition_size is 0; a conditional flow needs 1 or more"),
        (lambda: ConditionalFlow(2, 3, couplings=0), "couplings is 0, bins 8; expected 1 or more"),
        (lambda: ConditionalFlow(2, 3, bins=1), "bins 1; expected 1 or more and 2 or more"),
        (lambda: ConditionalFlow(2, 3, condition_scale=0.0), "condition_scale is 0.0; expected"),
        (lambda: ConditionalFlow(2, 3, activation="gelu"), "activation is 'gelu'"),
        (lambda: bent(2, 3).loss((torch.zeros(4, 2),)), "no condition beside its inputs"),
        (
            lambda: bent(2, 3).loss((torch.zeros(4, 2), torch.zeros(4, 5))),
            r"shape \(4, 5\); expected \(n, 3\).*one_hot",
        ),
        (
            lambda: bent(2, 3).sample((torch.zeros(4, dtype=torch.int64),), generator=seeded(0)),
            r"shape \(4,\); expected \(n, 3\).*one_hot",
        ),
    ],
)
def test_errors_say_what_arrived_and_the_fix(use, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        use()


def test_without_zuko_the_error_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ImportError, match=r"pip install 'insituml\[flow\]'"):
        ConditionalFlow(2, 3)
