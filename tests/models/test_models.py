"""Shapes, initial weights, rebuilding and device placement of the models."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from insituml.learner import ContinualLearner
from insituml.models import MLP, AutoEncoder1D, AutoEncoder2D, AutoEncoder3D
from insituml.models.layers import ACTIVATIONS


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(1))


CLASSES = {1: AutoEncoder1D, 2: AutoEncoder2D, 3: AutoEncoder3D}
SHAPES = [
    (1, 64),
    (3, 17),
    (6, 4),
    (1, 8, 8),
    (3, 7, 9),
    (2, 5, 12),
    (1, 4, 4, 4),
    (3, 5, 7, 6),
    (2, 9, 4, 5),
]


@pytest.mark.parametrize("downsampling", ["strided", "pool"])
@pytest.mark.parametrize("convolutions", [1, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_autoencoder_shapes(shape, convolutions: int, downsampling: str) -> None:
    model = CLASSES[len(shape) - 1](shape, (4, 6), 5, convolutions, downsampling)
    x = batch(3, *shape)
    encoded, decoded, indices = model(x)
    assert encoded.shape == (3, 5)
    assert decoded.shape == x.shape
    assert model.decode(encoded).shape == x.shape  # a latent alone, as replay has it
    assert model.encode(model.decode(encoded)).shape == encoded.shape
    assert torch.equal(model.encode(x), encoded)
    assert (indices is None) == (downsampling == "strided")
    layers = [m for m in model.modules() if hasattr(m, "stride") and hasattr(m, "weight")]
    assert len(layers) == 2 * 2 * convolutions  # two halves, two blocks


@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (3, 3), (1, 1, 2), (2, 1, 64), (1, 1, 1, 5)])
def test_the_smallest_grids_go_through_strided_blocks(shape: tuple[int, ...]) -> None:
    model = CLASSES[len(shape) - 1](shape, (4, 6), 5)
    assert model(batch(3, *shape))[1].shape == (3, *shape)


@pytest.mark.parametrize("dimensions, shape", [(3, (3, 64)), (3, (1, 16, 32)), (1, (2, 8, 8, 8))])
def test_a_model_of_other_dimensions_names_the_one_that_fits(dimensions: int, shape) -> None:
    n = len(shape) - 1
    with pytest.raises(
        ValueError, match=rf"for {n} choose AutoEncoder{n}D \(model=autoencoder{n}d"
    ):
        CLASSES[dimensions](shape)


def test_strided_latent_is_the_whole_code_but_pooled_latent_is_not() -> None:
    x = batch(4, 2, 7, 8)
    for convolutions in (1, 2):
        strided = AutoEncoder2D((2, 7, 8), (4, 6), 5, convolutions)
        assert torch.equal(strided(x)[1], strided.decode(strided.encode(x)))
    pooled = AutoEncoder2D((2, 7, 8), (4, 6), 5, downsampling="pool")
    assert not torch.allclose(pooled(x)[1], pooled.decode(pooled.encode(x)))


@pytest.mark.parametrize("downsampling", ["strided", "pool"])
def test_decoder_sees_every_latent_and_encoder_every_pixel(downsampling: str) -> None:
    model = AutoEncoder2D((1, 7, 6), (4, 6), 3, 2, downsampling, activation="tanh")
    x = batch(1, 1, 7, 6).requires_grad_()
    latent = batch(1, 3).requires_grad_()
    if downsampling == "strided":  # pooling passes the gradient to the largest of each 2 × 2
        model.encode(x).sum().backward()
        assert (x.grad != 0).all()
    model.decode(latent).sum().backward()
    assert (latent.grad != 0).all()


@pytest.mark.parametrize("shape", [(2, 8, 6), (2, 7, 9), (2, 5, 7, 6)], ids=str)
def test_unpooling_equals_torchs(shape) -> None:
    model = CLASSES[len(shape) - 1](shape, (3, 4), 5, 1, "pool")
    dimensions = len(shape) - 1
    pool, unpool = {
        2: (nn.functional.max_pool2d, nn.functional.max_unpool2d),
        3: (nn.functional.max_pool3d, nn.functional.max_unpool3d),
    }[dimensions]
    x = value = batch(3, *shape)
    sizes, indices = [], []
    for block in model.encoder.blocks:
        value = block(value)
        sizes.append(value.shape[2:])
        value, index = pool(value, 2, return_indices=True)
        indices.append(index)
    encoded = model.encoder.latent(value.flatten(1))
    expected = model.decoder.activation(model.decoder.latent(encoded)).view_as(value)
    for block in model.decoder.blocks:
        expected = block(unpool(expected, indices.pop(), 2, output_size=sizes.pop()))
    torch.testing.assert_close(model(x)[0], encoded, rtol=0, atol=0)
    torch.testing.assert_close(model(x)[1], expected, rtol=0, atol=0)


def test_decoding_without_indices_repeats_each_value() -> None:
    model = AutoEncoder2D((1, 4, 4), (2,), 3, downsampling="pool")
    latent = batch(2, 3)
    code = model.decoder.activation(model.decoder.latent(latent)).view(2, 2, 2, 2)
    repeated = code.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(model.decode(latent), model.decoder.blocks[0](repeated))


def test_mlp_mirrors_its_encoder() -> None:
    model = MLP((2, 3), (7, 5), 4)
    widths = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert widths == [(6, 7), (7, 5), (5, 4), (4, 5), (5, 7), (7, 6)]
    x = batch(9, 2, 3)
    encoded, decoded, indices = model(x)
    assert (encoded.shape, decoded.shape, indices) == ((9, 4), (9, 2, 3), None)
    assert torch.equal(decoded, model.decode(model.encode(x)))
    assert MLP(6)(batch(9, 6))[1].shape == (9, 6)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(
    "build",
    [
        lambda name: MLP(4, (3,), 2, name),
        lambda name: AutoEncoder2D((1, 4, 4), (2,), 2, activation=name),
    ],
)
def test_activation_is_the_one_named_and_none_follows_the_output(name: str, build) -> None:
    model = build(name)
    kinds = {type(m) for m in model.modules()} & {nn.Tanh, nn.LeakyReLU, nn.ReLU}
    assert kinds == {type(ACTIVATIONS[name]())}
    last = list(model.decoder.modules())[-1]
    assert isinstance(last, nn.Linear | nn.ConvTranspose2d)


MODELS = {
    "mlp": lambda **k: MLP((2, 3), (7, 5), 4, **k),
    "1d": lambda **k: AutoEncoder1D((2, 9), (3, 4), 5, **k),
    "2d": lambda **k: AutoEncoder2D((2, 8, 6), (3, 4), 5, **k),
    "3d": lambda **k: AutoEncoder3D((2, 4, 4, 6), (3, 4), 5, **k),
}


@pytest.mark.parametrize("name", MODELS)
def test_initial_weights_are_xavier_uniform(name: str) -> None:
    for parameter_name, p in MODELS[name](generator=seeded(3)).named_parameters():
        if p.dim() == 1:
            assert (p == 0).all(), parameter_name
            continue
        receptive = math.prod(p.shape[2:])
        bound = math.sqrt(6 / ((p.shape[0] + p.shape[1]) * receptive))
        assert p.abs().max() <= bound
        if p.numel() >= 30:  # fills the interval, and with the variance of a uniform one
            assert p.abs().max() > 0.8 * bound
            assert p.var().item() == pytest.approx(bound**2 / 3, rel=0.5)


@pytest.mark.parametrize("name", MODELS)
def test_weights_follow_from_the_generator_alone(name: str) -> None:
    state = torch.get_rng_state()
    first = MODELS[name](generator=seeded(3)).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        second = MODELS[name](generator=seeded(3)).state_dict()
    other = MODELS[name](generator=seeded(4)).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)
    default, zero = MODELS[name]().state_dict(), MODELS[name](generator=seeded(0)).state_dict()
    assert all(torch.equal(default[k], zero[k]) for k in zero)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("downsampling", ["strided", "pool"])
def test_halves_live_on_two_devices(name: str, downsampling: str) -> None:
    options = {} if name == "mlp" else {"downsampling": downsampling}
    model = MODELS[name](**options)
    assert model.split_devices("cpu", "meta") is model
    assert {p.device.type for p in model.encoder.parameters()} == {"cpu"}
    assert {p.device.type for p in model.decoder.parameters()} == {"meta"}
    shape = {"mlp": (2, 3), "1d": (2, 9), "2d": (2, 8, 6), "3d": (2, 4, 4, 6)}[name]
    x = batch(3, *shape)
    encoded, decoded, _ = model(x)
    assert (encoded.device.type, decoded.device.type) == ("cpu", "meta")
    assert decoded.shape == x.shape
    assert model.loss((x,)).device.type == "meta"
    # Latents travel too: encode(decode(z)) with the halves the other way round.
    turned = MODELS[name](**options).split_devices("meta", "cpu")
    assert turned.encode(turned.decode(torch.zeros(3, encoded.shape[1]))).device.type == "meta"


class Narrow(AutoEncoder2D):
    """A user's subclass with its own constructor."""

    def __init__(self, width, **kwargs) -> None:
        super().__init__((1, 6, 6), (width,), **kwargs)


class PassesOn(MLP):
    def __init__(self, *args, factor: float = 1.0, **options) -> None:
        super().__init__(*args, **options)
        self.factor = factor


class Plain(ContinualLearner):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)


BUILDS = {
    "keywords": lambda: MLP(input_shape=4, latent_size=3, loss="l1"),
    "positional": lambda: AutoEncoder2D((1, 6, 6), (4,), 3, 2, "pool", "tanh"),
    "3d": lambda: AutoEncoder3D((1, 6, 4, 6), channels=[4], generator=seeded(7)),
    "own constructor": lambda: Narrow(3, latent_size=4, loss="l1"),
    "own constructor by name": lambda: Narrow(width=3, generator=seeded(1)),
    "star args": lambda: PassesOn(4, (5,), factor=2.0, latent_size=3),
    "plain": lambda: Plain(4),
    "defaults": lambda: Plain(),
}


@pytest.mark.parametrize("name", BUILDS)
def test_constructor_arguments_build_an_equal_model(name: str) -> None:
    model = BUILDS[name]()
    named = dict(model.constructor_arguments)
    again = type(model)(*named.pop("*", ()), **named)
    again.load_state_dict(model.state_dict(), strict=True)
    assert str(again) == str(model)
    assert again.constructor_arguments == model.constructor_arguments
    assert again.reconstruction_loss == model.reconstruction_loss


def test_deepcopy_is_independent() -> None:
    model = Narrow(3, latent_size=4)
    x = batch(2, 1, 6, 6)
    twin = copy.deepcopy(model)
    assert twin.constructor_arguments == {"width": 3, "latent_size": 4}
    assert torch.equal(twin(x)[1], model(x)[1])
    nn.init.ones_(twin.encoder.latent.weight)
    assert not torch.equal(twin(x)[1], model(x)[1])


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: MLP(4, loss="huber"), r"loss is 'huber'; expected one of mse, l1, l1_ssim"),
        (lambda: MLP(4, activation="gelu"), r"activation is 'gelu'.*leaky_relu, relu, tanh"),
        (lambda: AutoEncoder2D((8, 8)), r"input_shape is \(8, 8\); AutoEncoder2D expects 3"),
        (lambda: AutoEncoder3D((1, 8, 8)), r"AutoEncoder3D expects 4 numbers"),
        (lambda: AutoEncoder2D((1, 8, 8), convolutions=0), r"convolutions is 0"),
        (lambda: AutoEncoder2D((1, 8, 8), ()), r"channels is empty"),
        (lambda: AutoEncoder2D((1, 8, 8), downsampling="mean"), r"'mean'; expected strided or"),
        (
            lambda: AutoEncoder2D((1, 8, 3), (2, 2), downsampling="pool"),
            r"\(8, 3\).*halved 2 times",
        ),
    ],
)
def test_errors_name_what_arrived_and_what_was_expected(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_a_subclass_without_encode_is_told_so() -> None:
    with pytest.raises(NotImplementedError, match="Plain defines no encode"):
        Plain()(batch(2, 3))
