"""Sketches: unbiased inner products, adjoints, the same bits from the same seed, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm
from torch import Tensor
from torch.autograd import gradcheck

from insituml.memory import Sketch, sketch

KINDS = ["transform", "gaussian"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def matrix(made: Sketch, number: int) -> Tensor:
    """Return S itself, column by column, ``(m, n)``."""
    units = torch.eye(made.numbers, dtype=torch.float64).view(-1, *made.shape)
    return made(units, torch.full((made.numbers,), number)).T


# What a sketch is for

ERROR_RATE = 1e-6
"""Chance that a correct sketch fails one of the statistical tests, each by itself."""


def pairs() -> dict[str, tuple[Tensor, Tensor]]:
    n = 96
    x, y = random(n, seed=1), random(n, seed=2)
    spike = torch.zeros(n, dtype=torch.float64)
    spike[3] = 5.0
    smooth = torch.linspace(0, 3 * math.pi, n, dtype=torch.float64).sin() + 0.5
    return {
        "independent": (x, y),
        "alike": (x, x + 0.1 * y),
        "itself": (x, x),
        "one point": (spike, spike + 0.2 * x),
        "smooth": (smooth, smooth.square()),
    }


@pytest.mark.parametrize("pair", pairs())
@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_are_unbiased_and_vary_as_little_as_is_said(kind: str, pair: str) -> None:
    x, y = pairs()[pair]
    trials, size = 1500, 12
    made = Sketch((len(x),), size, kind, seed=7)
    maps = torch.arange(trials)
    products = (made(x.expand(trials, -1), maps) * made(y.expand(trials, -1), maps)).sum(dim=1)
    # The mean of so many is normal; its deviation is measured, and is what theory says.
    deviation = products.std().item() / math.sqrt(trials)
    within = norm.isf(ERROR_RATE / 2) * deviation
    assert abs(products.mean().item() - (x @ y).item()) < within
    bound = 2 * (x @ x) * (y @ y) / size
    assert products.var() < 1.3 * bound
    if kind == "gaussian":
        expected = ((x @ x) * (y @ y) + (x @ y).square()) / size
        assert products.var().item() == pytest.approx(expected.item(), rel=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_of_back_projections_is_the_sample(kind: str) -> None:
    x, trials = random(40, seed=3), 1500
    made, maps = Sketch((40,), 5, kind), torch.arange(trials)
    back = made.adjoint(made(x.expand(trials, -1), maps), maps)
    deviation = back.std(dim=0) / math.sqrt(trials)
    within = norm.isf(ERROR_RATE / 2 / 40) * deviation
    assert ((back.mean(dim=0) - x).abs() < within).all()


# What it is


def test_the_transform_by_hand() -> None:
    made, x = Sketch((2, 5), 4, seed=3), random(2, 2, 5, seed=4)
    maps = torch.tensor([6, 9])
    signs, chosen = made._signs_and_choices(maps, x)
    j = torch.arange(10, dtype=torch.float64)
    angle = 2 * math.pi / 10 * j[:, None] * j
    cas = (angle.cos() + angle.sin()) / math.sqrt(10)
    torch.testing.assert_close(cas @ cas, torch.eye(10, dtype=torch.float64))
    for row in range(2):
        assert set(signs[row].tolist()) == {-1.0, 1.0}
        assert len(chosen[row].unique()) == 4
        full = cas @ (signs[row] * x[row].flatten())
        expected = math.sqrt(10 / 4) * full[chosen[row]]
        torch.testing.assert_close(made(x, maps)[row], expected, rtol=1e-12, atol=1e-13)


def test_a_transform_of_full_size_is_orthogonal() -> None:
    s = matrix(Sketch((3, 7), 21), 2)
    torch.testing.assert_close(s @ s.T, torch.eye(21, dtype=torch.float64))


def test_entries_of_a_gaussian_map_have_variance_one_over_m() -> None:
    s = matrix(Sketch((50, 4), 40, "gaussian"), 0)
    assert s.square().mean().item() == pytest.approx(1 / 40, rel=0.1)
    assert abs(s.mean().item()) < 4 / math.sqrt(40 * s.numel())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(13,), (2, 3, 4), (1, 1)])
def test_the_adjoint_is_one(kind: str, shape: tuple[int, ...], monkeypatch) -> None:
    monkeypatch.setattr(sketch, "BLOCK", 30)
    made = Sketch(shape, max(1, math.prod(shape) // 2), kind, seed=1)
    maps = torch.tensor([0, 4, 0])
    x, s = random(3, *shape, seed=5), random(3, made.size, seed=6)
    left = (made(x, maps) * s).sum()
    right = (x * made.adjoint(s, maps)).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-12)
    assert made.adjoint(s, maps).shape == x.shape


@pytest.mark.parametrize("kind", KINDS)
def test_each_sample_meets_its_own_map_whatever_its_company(kind: str) -> None:
    made, x = Sketch((4, 5), 6, kind), random(5, 4, 5)
    maps = torch.tensor([3, 1, 3, 8, 1], dtype=torch.int32)
    together = made(x, maps)
    for row in range(5):
        alone = made(x[row : row + 1], maps[row : row + 1])[0]
        torch.testing.assert_close(together[row], alone, rtol=1e-12, atol=1e-13)
        expected = matrix(made, int(maps[row])) @ x[row].flatten()
        torch.testing.assert_close(together[row], expected, rtol=1e-12, atol=1e-13)
    assert made(x[:0], maps[:0]).shape == (0, 6)
    assert made.adjoint(together[:0], maps[:0]).shape == (0, 4, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bits_and_other_maps_otherwise(kind: str) -> None:
    x = random(1, 30)
    found = set()
    for seed in (0, 1, 2**40):
        for number in (0, 1, 2):
            maps = torch.tensor([number])
            first, again = (Sketch((30,), 4, kind, seed)(x, maps) for _ in range(2))
            assert torch.equal(first, again)
            found.add(tuple(first[0].tolist()))
    assert len(found) == 9


def test_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    for kind in KINDS:
        made, x = Sketch((6,), 3, kind), random(2, 6).requires_grad_()
        made(x, torch.arange(2)).sum().backward()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_gaussian_map_does_not_depend_on_being_made_in_blocks_or_at_once(monkeypatch) -> None:
    made, x, maps = Sketch((10,), 7, "gaussian"), random(2, 10), torch.tensor([0, 0])
    monkeypatch.setattr(sketch, "BLOCK", 20)  # two rows a block
    parts = made(x, maps)
    # The first row of each block is where its numbers begin.
    for first in (0, 2, 4, 6):
        rows = made._rows(0, first, min(2, 7 - first), x)
        expected = x @ rows.T
        torch.testing.assert_close(parts[:, first : first + 2], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: str, monkeypatch) -> None:
    monkeypatch.setattr(sketch, "BLOCK", 12)  # several blocks, made again in the backward pass
    made, maps = Sketch((2, 3), 5, kind), torch.tensor([0, 2, 0])
    target = random(3, 5, seed=9)
    x = random(3, 2, 3).requires_grad_()
    assert gradcheck(lambda x: (made(x, maps) - target).square().sum(), (x,))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.uint8])
def test_other_numbers_are_taken_as_float32(kind: str, dtype: torch.dtype) -> None:
    made, maps = Sketch((20,), 4, kind), torch.arange(3)
    x = (4 * random(3, 20).abs()).to(dtype)
    result = made(x, maps)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), made(x.double(), maps), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"size": 0}, "size is 0 for samples of 6 numbers; expected 1 to 6"),
        ({"size": 7}, "size is 7 for samples of 6 numbers; expected 1 to 6"),
        ({"size": 2, "kind": "dct"}, "kind is 'dct'; expected one of transform, gaussian"),
    ],
)
def test_impossible_sketches_are_refused(options, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sketch((2, 3), **options)


def test_samples_that_do_not_fit_are_refused() -> None:
    made = Sketch((2, 3), 2)
    with pytest.raises(ValueError, match=r"samples of shape \(3, 2\) .* sketch of \(2, 3\)"):
        made(torch.zeros(4, 3, 2), torch.arange(4))
    with pytest.raises(ValueError, match="complex64"):
        made(torch.zeros(4, 2, 3, dtype=torch.complex64), torch.arange(4))
