"""The fully convolutional autoencoder: any grid, any batch, a size that does not depend on them."""

from __future__ import annotations

import pytest
import torch

from insituml.models import ConvolutionalAutoEncoder
from insituml.models.residual import ChannelNorm, ResidualBlock, padded


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(1))


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """Give every weight a value, so that blocks do something."""
    generator = seeded(5)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return model


SHAPES = [(2, 16), (1, 13), (3, 8, 12), (2, 7, 9), (1, 1, 2), (3, 4, 8, 4), (2, 5, 6, 3)]


@pytest.mark.parametrize("normalisation", ["none", "layer"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape: tuple[int, ...], normalisation: str) -> None:
    model = randomised(ConvolutionalAutoEncoder(shape, (4, 6), 2, normalisation))
    x = batch(3, *shape)
    encoded, decoded, indices = model(x)
    assert encoded.shape == (3, 2, *(-(-n // 4) for n in shape[1:]))
    assert (decoded.shape, indices) == (x.shape, None)
    assert torch.equal(model.encode(x), encoded)
    assert torch.equal(model.decode(encoded), decoded)  # the latent is the whole code
    alone = torch.cat([model(sample[None])[1] for sample in x])
    torch.testing.assert_close(alone, decoded)  # a batch of one is no other batch


def test_size_does_not_depend_on_the_grid_and_other_grids_go_through() -> None:
    small = randomised(ConvolutionalAutoEncoder((3, 8, 8, 8), (4, 6)))
    large = ConvolutionalAutoEncoder((3, 16, 128, 16), (4, 6))
    large.load_state_dict(small.state_dict())
    x = batch(1, 3, 8, 20, 9)
    assert small(x)[1].shape == x.shape
    assert torch.equal(small(x)[1], large(x)[1])


@pytest.mark.parametrize("normalisation", ["none", "layer"])
def test_a_shift_by_the_coarsest_point_shifts_the_reconstruction(normalisation: str) -> None:
    model = randomised(ConvolutionalAutoEncoder((1, 64), (4, 6), 2, normalisation)).double()
    x = torch.zeros(1, 1, 256, dtype=torch.float64)
    x[..., 100:130] = batch(30).double()
    moved = model(x.roll(4, dims=-1))[1]
    torch.testing.assert_close(moved[..., 60:200], model(x)[1].roll(4, dims=-1)[..., 60:200])


def test_blocks_change_nothing_at_first_and_norms_scale_by_one() -> None:
    model = ConvolutionalAutoEncoder((2, 8, 8), (4, 6), 2, "layer")
    blocks = [m for m in model.modules() if isinstance(m, ResidualBlock)]
    x = batch(2, 6, 4, 4)
    assert torch.equal(blocks[1](x), x)
    norms = [m for m in model.modules() if isinstance(m, ChannelNorm)]
    assert norms
    assert all((n.weight == 1).all() and (n.bias == 0).all() for n in norms)


def test_channel_norm_normalises_each_point_by_itself() -> None:
    x = batch(2, 5, 3, 4)
    normalised = ChannelNorm(5)(x)
    mean = x.mean(dim=1, keepdim=True)
    deviation = ((x - mean).square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(normalised, (x - mean) / deviation)


def test_padding_repeats_the_far_edges() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    expected = torch.tensor([[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]).float()
    assert torch.equal(padded(x, 4)[0, 0], expected)
    assert padded(x[..., :2], 2).data_ptr() == x.data_ptr()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_shape": (3,)}, "one to three grid sizes"),
        ({"channels": ()}, "channels is empty"),
        ({"normalisation": "batch"}, "expected layer or none"),
        ({"latent_channels": 0}, "latent_channels is 0"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvolutionalAutoEncoder(**{"input_shape": (1, 8, 8), **options})
