"""Closed forms of importance against a plain loop over samples, and when they must not be used."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from insituml.gradients import importance, mean_gradient_power
from insituml.models import MLP, AutoEncoder2D, AutoEncoder3D


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def mean_square(module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return (module(batch[0]) - 0.3).square().mean()


def model_loss(module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return module.loss(batch)


def per_sample_loop(module, loss, samples, power: int) -> dict[str, Tensor]:
    module = copy.deepcopy(module).eval()
    total = {n: torch.zeros_like(p) for n, p in module.named_parameters() if p.requires_grad}
    for n in range(len(samples[0])):
        module.zero_grad()
        loss(module, tuple(t[n : n + 1] for t in samples)).backward()
        for name, p in module.named_parameters():
            if p.grad is not None:
                total[name] += p.grad.abs() ** power
    return {name: value / len(samples[0]) for name, value in total.items()}


def assert_equals_the_loop(module, loss, samples, **options) -> None:
    for power in (1, 2):
        expected = per_sample_loop(module, loss, samples, power)
        actual = mean_gradient_power(module, loss, samples, power, **options)
        assert actual.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(actual[name], value, rtol=1e-10, atol=1e-15, msg=name)


def by_vmap(monkeypatch: pytest.MonkeyPatch, module, loss, samples) -> set[str]:
    """Return which parameters took ``vmap`` in the end, not a closed form."""
    found: list[str] = []

    class Noting(importance.SampleGradients):
        def __init__(self, module, loss, names, restore, *, batched) -> None:
            if batched:  # not the comparison on two samples
                found[:] = names
            super().__init__(module, loss, names, restore, batched=batched)

    monkeypatch.setattr(importance, "SampleGradients", Noting)
    mean_gradient_power(module, loss, samples, 2, chunk_size=16)
    return set(found)


def seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().double()


CONVOLUTIONS = {
    "1d": (lambda: nn.Conv1d(2, 3, 3), (2, 9)),
    "1d_all_options": (lambda: nn.Conv1d(2, 3, 2, stride=3, padding=2, dilation=2), (2, 10)),
    "2d": (lambda: nn.Conv2d(2, 3, (3, 2)), (2, 5, 6)),
    "2d_one_place": (lambda: nn.Conv2d(2, 3, (5, 6)), (2, 5, 6)),
    "2d_no_bias": (lambda: nn.Conv2d(2, 3, 3, bias=False), (2, 5, 6)),
    "2d_same": (lambda: nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2)), (2, 5, 6)),
    "2d_valid": (lambda: nn.Conv2d(2, 3, 3, padding="valid"), (2, 5, 6)),
    "2d_all_options": (
        lambda: nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 3)),
        (2, 7, 8),
    ),
    "2d_groups": (lambda: nn.Conv2d(2, 4, 3, groups=2), (2, 5, 6)),
    "2d_circular": (
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        (2, 5, 6),
    ),
    "3d_all_options": (
        lambda: nn.Conv3d(2, 3, (3, 2, 1), (2, 1, 3), (1, 0, 2), (1, 2, 1)),
        (2, 5, 4, 6),
    ),
    "t1d": (lambda: nn.ConvTranspose1d(2, 3, 3), (2, 5)),
    "t1d_all_options": (
        lambda: nn.ConvTranspose1d(2, 3, 3, 3, padding=1, output_padding=2, dilation=2),
        (2, 5),
    ),
    "t2d": (lambda: nn.ConvTranspose2d(2, 3, (3, 2), (2, 1), (1, 0), (1, 0)), (2, 3, 4)),
    "t2d_groups": (lambda: nn.ConvTranspose2d(2, 4, 3, groups=2), (2, 3, 4)),
    "t3d": (
        lambda: nn.ConvTranspose3d(2, 3, (3, 2, 3), (2, 1, 2), 1, (1, 0, 1), 1, True, (1, 2, 1)),
        (2, 3, 4, 2),
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch pads a copy: slow, but right
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_equal_the_loop(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, shape = CONVOLUTIONS[case]
    layer = seeded(build)
    samples = [numbers(7, *shape)]
    assert_equals_the_loop(layer, mean_square, samples)
    through_vmap = case.endswith(("groups", "circular"))
    assert by_vmap(monkeypatch, layer, mean_square, samples) == (
        {"weight", "bias"} if through_vmap else set()
    )


MODELS = {
    "mlp": lambda: (MLP((2, 3), (6, 5), 3), (2, 3)),
    "2d": lambda: (AutoEncoder2D((2, 7, 6), (3, 4), 5, 2), (2, 7, 6)),
    "2d_pool": lambda: (AutoEncoder2D((2, 7, 6), (3, 4), 5, downsampling="pool"), (2, 7, 6)),
    "3d": lambda: (AutoEncoder3D((1, 5, 4, 6), (3, 4), 4), (1, 5, 4, 6)),
    "3d_pool": lambda: (AutoEncoder3D((1, 5, 4, 6), (3,), 4, downsampling="pool"), (1, 5, 4, 6)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_models_take_closed_forms_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, shape = MODELS[name]()
    samples = [numbers(11, *shape)]
    assert_equals_the_loop(module.double(), model_loss, samples)
    assert by_vmap(monkeypatch, module, model_loss, samples) == set()


@pytest.mark.parametrize("name", ["mlp", "2d"])
def test_chunks_of_any_size_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, shape = MODELS[name]()
    for held in (1, 500, 3000):
        monkeypatch.setattr(importance, "HELD", held)
        monkeypatch.setattr("insituml.gradients.layer_statistics.BLOCK", held)
        assert_equals_the_loop(module.double(), model_loss, [numbers(11, *shape)])


class Mixed(nn.Module):
    """Layers with and without a closed form, a raw parameter, and an in-place activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.act = nn.ELU(inplace=True)
        self.norm = nn.LayerNorm(4)
        self.scale = nn.Parameter(torch.ones(4))
        self.last = nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.act(self.first(x))) * self.scale)


def test_other_parameters_go_through_vmap(monkeypatch: pytest.MonkeyPatch) -> None:
    module, samples = seeded(Mixed), [numbers(9, 3)]
    assert_equals_the_loop(module, mean_square, samples)
    assert_equals_the_loop(module, mean_square, [numbers(1, 3)])
    assert_equals_the_loop(module, mean_square, [numbers(9, 5, 3)])  # more dimensions between
    expected = {"norm.weight", "norm.bias", "scale"}
    assert by_vmap(monkeypatch, module, mean_square, samples) == expected
    module.first.weight.requires_grad_(False)  # the bias alone
    module.last.requires_grad_(False)
    assert_equals_the_loop(module, mean_square, samples)
    assert by_vmap(monkeypatch, module, mean_square, samples) == expected


class Twice(nn.Module):
    """One layer called twice: its gradient is a sum over both calls."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.convolution = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(input=self.layer(x).tanh()).unsqueeze(1)
        return self.convolution(self.convolution(x).tanh())


def test_a_layer_called_twice_keeps_its_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    module, samples = seeded(Twice), [numbers(9, 3)]
    assert_equals_the_loop(module, mean_square, samples)
    assert by_vmap(monkeypatch, module, mean_square, samples) == set()


class Bypassed(nn.Module):
    """The weight is used behind the layer's back as well."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(3, 3)
        self.fine = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fine(linear(self.used(x).tanh(), self.used.weight.T))


class Tied(nn.Module):
    """Two layers hold one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        self.two.weight = self.one.weight
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).tanh())


class Rearranged(nn.Module):
    """A layer whose rows are not the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(0, 1)).transpose(0, 1)


@pytest.mark.parametrize("length", [2, 5, 9])
def test_rows_that_are_not_samples_go_through_vmap(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, samples = seeded(Rearranged), [numbers(9, length, 3)]
    assert_equals_the_loop(module, mean_square, samples)
    assert by_vmap(monkeypatch, module, mean_square, samples) == {"layer.weight", "layer.bias"}


def test_weights_used_elsewhere_go_through_vmap(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [numbers(9, 3)]
    module = seeded(Bypassed)
    assert_equals_the_loop(module, mean_square, samples)
    assert by_vmap(monkeypatch, module, mean_square, samples) == {"used.weight", "used.bias"}
    module = seeded(Tied)
    assert_equals_the_loop(module, mean_square, samples)
    expected = {"one.weight", "one.bias", "two.bias"}
    assert by_vmap(monkeypatch, module, mean_square, samples) == expected


def sum_loss(module, batch):
    return module(batch[0]).square().sum()


def decayed_loss(module, batch):
    return mean_square(module, batch) + sum(p.square().sum() for p in module.parameters())


def neighbours_loss(module, batch):
    output = module(batch[0])
    return (output - output.mean(dim=0)).square().mean() + output.square().mean()


@pytest.mark.parametrize("loss", [sum_loss, decayed_loss, neighbours_loss])
def test_a_loss_that_is_no_mean_of_the_samples_is_exact(loss, monkeypatch) -> None:
    module, samples = seeded(lambda: nn.Linear(3, 2)), [numbers(9, 3)]
    assert_equals_the_loop(module, loss, samples)
    # Only what uses the weights beside the output has no closed form.
    closed = set() if loss is not decayed_loss else {"weight", "bias"}
    assert by_vmap(monkeypatch, module, loss, samples) == closed


def test_single_precision_keeps_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    module, shape = MODELS["3d"]()
    samples = [numbers(11, *shape).float()]
    assert by_vmap(monkeypatch, module, model_loss, samples) == set()
    expected = per_sample_loop(module, model_loss, samples, 2)
    actual = mean_gradient_power(module, model_loss, samples, 2)
    for name, value in expected.items():
        assert actual[name].dtype == torch.float32
        torch.testing.assert_close(actual[name], value, rtol=1e-3, atol=1e-4 * float(value.max()))


def test_works_where_gradients_are_switched_off() -> None:
    module, shape = MODELS["mlp"]()
    samples = [numbers(5, *shape)]
    expected = mean_gradient_power(module.double(), model_loss, samples, 2)
    with torch.no_grad():
        actual = mean_gradient_power(module, model_loss, samples, 2)
    assert all(torch.equal(actual[name], value) for name, value in expected.items())
    assert not any(value.requires_grad for value in expected.values())


def test_an_unknown_power_is_named() -> None:
    with pytest.raises(ValueError, match="power is 3"):
        mean_gradient_power(MLP(2), model_loss, [numbers(2, 2)], 3)


def test_only_the_named_parameters_are_returned() -> None:
    module, samples = seeded(Mixed), [numbers(9, 3)]
    everything = mean_gradient_power(module, mean_square, samples, 2)
    names = {"first.bias", "scale"}
    some = mean_gradient_power(module, mean_square, samples, 2, names=names)
    assert some.keys() == names
    assert all(torch.equal(value, everything[name]) for name, value in some.items())
