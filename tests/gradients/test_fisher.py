"""The Fisher information against a plain loop over samples."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from insituml.gradients import diagonal_fisher
from insituml.gradients.sample_gradients import OneByOneWarning
from insituml.learner import ContinualLearner
from insituml.models import MLP, AutoEncoder1D, AutoEncoder2D, AutoEncoder3D


class Regressor(ContinualLearner):
    """A user's learner: own layers, batch normalisation, own loss on (x, y)."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.5)
        )
        self.head = nn.Linear(width, 2)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        x, y = batch
        return (self.head(self.layers(x)) - y).abs().pow(1.5).mean()


def loss_of(module, batch):
    return module.loss(batch)


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def per_sample_loop(module, samples) -> dict[str, Tensor]:
    module = copy.deepcopy(module).eval()
    total = {n: torch.zeros_like(p) for n, p in module.named_parameters() if p.requires_grad}
    for n in range(len(samples[0])):
        module.zero_grad()
        module.loss(tuple(t[n : n + 1] for t in samples)).backward()
        for name, p in module.named_parameters():
            if p.grad is not None:
                total[name] += p.grad**2
    return {name: value / len(samples[0]) for name, value in total.items()}


def assert_close(actual, expected, rtol: float = 1e-10) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=rtol, atol=1e-14, msg=name)


CASES = {
    "mlp": lambda: (MLP(4, (6,), 3), [numbers(11, 4)]),
    "mlp_l1": lambda: (MLP((2, 3), (6,), 3, "tanh", loss="l1"), [numbers(11, 2, 3)]),
    "1d": lambda: (AutoEncoder1D((2, 7), (3, 4), 5, 2), [numbers(11, 2, 7)]),
    "2d_strided": lambda: (AutoEncoder2D((2, 7, 6), (3, 4), 5, 2), [numbers(11, 2, 7, 6)]),
    "2d_pool": lambda: (
        AutoEncoder2D((2, 7, 6), (3, 4), 5, downsampling="pool"),
        [numbers(11, 2, 7, 6)],
    ),
    "3d_strided": lambda: (AutoEncoder3D((1, 5, 4, 6), (3,), 4), [numbers(11, 1, 5, 4, 6)]),
    "3d_pool": lambda: (
        AutoEncoder3D((1, 5, 4, 6), (3,), 4, downsampling="pool"),
        [numbers(11, 1, 5, 4, 6)],
    ),
    "user": lambda: (Regressor(), [numbers(11, 3), numbers(11, 2)]),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_a_loop_over_samples_whatever_the_chunk_size(case: str) -> None:
    module, samples = CASES[case]()
    module = module.double()
    if case == "user":  # running statistics away from their initial values
        module.train()
        module.layers(samples[0] * 3 + 1)
    expected = per_sample_loop(module, samples)
    assert any(float(value.sum()) > 0 for value in expected.values())
    for chunk_size in (1, 4, 11, 100):
        assert_close(diagonal_fisher(module, loss_of, samples, chunk_size=chunk_size), expected)


def test_is_not_the_squared_gradient_of_the_batch_mean() -> None:
    module, samples = CASES["mlp"]()
    module = module.double()
    fisher = diagonal_fisher(module, loss_of, samples)
    module.loss(tuple(samples)).backward()
    trace = sum(float(value.sum()) for value in fisher.values())
    squared_mean = sum(float(p.grad.square().sum()) for p in module.parameters())
    assert trace > 1.5 * squared_mean


def test_linear_layer_by_hand() -> None:
    # loss = (w x)² / 1, so the gradient is 2 w x², its square 4 w² x⁴.
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(module.weight, 3.0)
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    fisher = diagonal_fisher(module, lambda m, batch: m(batch[0]).square().mean(), [x])
    assert fisher["weight"].item() == pytest.approx(4 * 9 * (1 + 16) / 2)


def test_gradients_and_modes_are_left_alone() -> None:
    module, samples = CASES["user"]()
    module = module.double().train()
    module.layers[1].eval()  # a user's frozen batch normalisation inside a training model
    modes = [part.training for part in module.modules()]
    statistics = module.layers[1].running_mean.clone()
    module.head.weight.grad = torch.full_like(module.head.weight, 7.0)
    before = copy.deepcopy(module.state_dict())
    diagonal_fisher(module, loss_of, samples)
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(module.layers[1].running_mean, statistics)
    assert (module.head.weight.grad == 7).all()
    assert module.head.bias.grad is None
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_mode_is_restored_after_an_error() -> None:
    module = MLP(4).train()
    with pytest.raises(RuntimeError, match="no such luck"):
        diagonal_fisher(module, _fail, [torch.zeros(2, 4)])
    assert module.training
    assert module.encoder.training


def _fail(module, batch):
    raise RuntimeError("no such luck")


def test_frozen_parameters_are_left_out() -> None:
    module, samples = CASES["mlp"]()
    module = module.double()
    everything = diagonal_fisher(module, loss_of, samples)
    module.encoder.requires_grad_(False)
    fisher = diagonal_fisher(module, loss_of, samples)
    assert set(fisher) == {name for name in everything if name.startswith("decoder.")}
    assert_close(fisher, {name: everything[name] for name in fisher})


class DataDependent(ContinualLearner):
    """A loss that vmap cannot batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        error = (self.layer(batch[0]) - batch[0]).square().mean()
        return error * 2 if error.item() > 1 else error


def test_what_vmap_cannot_batch_works_one_by_one_and_a_warning_says_so() -> None:
    module, samples = DataDependent().double(), [numbers(6, 3)]
    expected = per_sample_loop(module, samples)
    with pytest.warns(OneByOneWarning, match="chunk_size=1 says so"):
        assert_close(diagonal_fisher(module, loss_of, samples), expected)
    assert_close(diagonal_fisher(module, loss_of, samples, chunk_size=1), expected)


def test_a_loss_that_draws_noise_gives_every_sample_its_own() -> None:
    module = nn.Linear(1, 1, bias=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fisher = diagonal_fisher(
            module,
            lambda m, batch: (m.weight * torch.randn_like(batch[0])).sum(),
            [torch.zeros(4000, 1)],
            chunk_size=4000,
        )
    # The mean of squared standard normal numbers; a single shared draw would miss 1 by far more.
    assert fisher["weight"].item() == pytest.approx(1.0, abs=0.1)


def test_errors_name_what_arrived() -> None:
    with pytest.raises(ValueError, match="0 samples"):
        diagonal_fisher(MLP(4), loss_of, [torch.zeros(0, 4)])
    with pytest.raises(ValueError, match="chunk_size is 0"):
        diagonal_fisher(MLP(4), loss_of, [torch.zeros(1, 4)], chunk_size=0)
