"""Faster transposed convolutions against torch's own, for any geometry."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from insituml.gradients.fast_convolutions import fast_convolutions
from insituml.gradients.spread import is_dense, spread

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().double()


def geometries(count: int) -> list[dict]:
    """Draw kernels, strides, paddings and dilations at random, the same at every run."""
    draw, found = random.Random(0), []
    for _ in range(count):
        dimensions = draw.randint(1, 3)
        found.append(
            {
                name: tuple(draw.randint(least, most) for _ in range(dimensions))
                for name, least, most in (
                    ("kernel_size", 1, 4),
                    ("stride", 1, 3),
                    ("padding", 0, 2),
                    ("dilation", 1, 3),
                )
            }
        )
    return found


@pytest.mark.parametrize("geometry", geometries(40), ids=str)
def test_spread_is_a_transposed_convolution_and_a_gradient(geometry: dict) -> None:
    dimensions = len(geometry["stride"])
    extra = tuple(step - 1 for step in geometry["stride"])
    grid = (5, 6, 4)[:dimensions]
    layer = seeded(
        lambda: TRANSPOSED[dimensions](2, 3, bias=False, output_padding=extra, **geometry)
    )
    x = numbers(4, 2, *grid)
    expected = layer(x).detach()
    actual = spread(layer, layer.weight.detach(), x, tuple(expected.shape[2:]))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)

    layer = seeded(lambda: CONVOLUTION[dimensions](2, 3, bias=False, **geometry))
    x = numbers(4, 2, *(size + 9 for size in grid)).requires_grad_()
    output = layer(x)
    g = numbers(*output.shape)
    (expected,) = torch.autograd.grad(output, x, g)
    actual = spread(layer, layer.weight.detach(), g, tuple(x.shape[2:]))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_what_would_mostly_multiply_zeros_is_noticed() -> None:
    assert is_dense(nn.ConvTranspose3d(1, 1, 3, 2, 1))
    assert is_dense(nn.Conv2d(1, 1, 3, 1))
    assert not is_dense(nn.Conv3d(1, 1, 3, 2, dilation=3))


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, 2, 1),
        nn.Tanh(),
        nn.Conv2d(3, 4, (2, 3), (1, 2), bias=False),
        nn.Tanh(),
        nn.ConvTranspose2d(4, 3, 3, 2, 1, 1),
        nn.Tanh(),
        nn.ConvTranspose2d(3, 2, (3, 2), (1, 2), (1, 0), bias=False),
    )


def test_outputs_and_gradients_of_a_network_are_the_same_inside() -> None:
    module, x = seeded(network), numbers(5, 2, 7, 9).requires_grad_()
    output = module(x)
    g = numbers(*output.shape)
    (expected,) = torch.autograd.grad(output, x, g)
    with fast_convolutions(module):
        assert all("forward" in vars(layer) for layer in module if not isinstance(layer, nn.Tanh))
        again = module(x)
        (actual,) = torch.autograd.grad(again, x, g)
    torch.testing.assert_close(again, output, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_a_given_output_size_takes_the_usual_way() -> None:
    layer, x = seeded(lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1)), numbers(4, 2, 5, 5)
    expected = layer(x, output_size=[10, 9])
    with fast_convolutions([layer]):
        assert torch.equal(layer(x, output_size=[10, 9]), expected)
        assert torch.allclose(layer(x[0]), layer(x)[0])  # a single sample without a batch


class Doubling(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def test_layers_are_as_before_afterwards_even_after_an_error_and_subclasses_throughout() -> None:
    layers = [nn.Conv2d(2, 3, 3), Doubling(2, 3, 3), nn.Conv2d(2, 3, 3, padding="same")]
    wrapped = nn.Conv2d(2, 3, 3)
    wrapped.forward = lambda input: input  # a user's own
    before = wrapped.forward

    def fail() -> None:
        with fast_convolutions([*layers, wrapped]):
            assert "forward" in vars(layers[0])
            assert not any("forward" in vars(layer) for layer in layers[1:])
            assert wrapped.forward is before
            raise RuntimeError("no such luck")

    with pytest.raises(RuntimeError, match="no such luck"):
        fail()
    assert not any("forward" in vars(layer) for layer in layers)
    assert wrapped.forward is before
