"""GPM: updates orthogonal to what the past tasks' inputs span."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.methods import GPM
from insituml.models import AutoEncoder2D
from insituml.training import train


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def task(index: int, *columns: Tensor) -> Task:
    return Task(index, f"task {index}", columns, columns)


class Regression(ContinualLearner):
    """Any layer, fitted to the targets y."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.layer(batch[0])

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return (output - batch[1]).square().mean()


def built(build) -> Regression:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Regression(build()).double()


def run(learner, method, tasks, optimizer, epochs: int = 4):
    options = {"epochs": epochs, "batch_size": 8, "generator": seeded(5)}
    return train(learner, method, tasks, optimizer, **options)


OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=0.02),
    "adamw": partial(torch.optim.AdamW, lr=0.02, weight_decay=0.3),
    "sgd": partial(torch.optim.SGD, lr=0.05),
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=0.1),
}

# Layer, shape of a sample, and the rank of the first task's samples.
LAYERS = {
    "linear": (lambda: nn.Linear(6, 2), (6,), 3),
    "linear_sequence": (lambda: nn.Linear(6, 2, bias=False), (3, 6), 1),
    "conv": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 3, 3), 1),
    "transposed": (lambda: nn.ConvTranspose1d(6, 2, 3, stride=2), (6, 2), 2),
}


def first_samples(shape: tuple[int, ...], rank: int) -> Tensor:
    return (numbers(40, rank, seed=1) @ numbers(rank, *shape, seed=2).flatten(1)).view(40, *shape)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_outputs_of_the_past_task_stay_while_the_new_one_is_learned(name: str, layer: str) -> None:
    build, shape, rank = LAYERS[layer]
    learner = built(build)
    optimizer = OPTIMIZERS[name](learner.parameters())
    # One sample of a convolution spans many patches: all of the task's are needed here.
    method = GPM(1.0, 1.0, None, generator=seeded(0))
    x = [first_samples(shape, rank), numbers(40, *shape, seed=3)]
    tasks = [task(k, x[k], learner.layer(x[k]).detach() + 1 + numbers(1, seed=6)) for k in range(2)]
    loop = run(learner, method, tasks, optimizer)
    next(loop)
    held, of = method.sizes()["layer"]
    assert 0 < held < of
    past, before = learner.layer(x[0]).detach(), learner.loss(tasks[1].train).item()
    list(loop)
    torch.testing.assert_close(learner.layer(x[0]), past, rtol=0, atol=1e-10)
    assert learner.loss(tasks[1].train).item() < before - 1e-4
    assert not torch.allclose(learner.layer(x[1]), tasks[1].train[1], atol=1e-3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_update_is_orthogonal_to_the_stored_subspace(name: str) -> None:
    learner = AutoEncoder2D((1, 6, 5), (2, 3), 4).double()
    optimizer = OPTIMIZERS[name](learner.parameters())
    tasks = [task(k, numbers(32, 1, 6, 5, seed=k) + k) for k in range(3)]
    moved = []

    class Watching(GPM):
        def after_step(self, learner):
            before = {n: value.clone() for n, value in self._before.items()}
            super().after_step(learner)
            for layer, basis in (self.bases or {}).items():
                weight = learner.get_parameter(f"{layer}.weight")
                change = (weight.detach() - before[f"{layer}.weight"]).flatten(1)
                if len(basis) == change.shape[1] + 1:
                    bias = learner.get_parameter(f"{layer}.bias").detach()
                    change = torch.cat([change, (bias - before[f"{layer}.bias"])[:, None]], dim=1)
                elif isinstance(learner.get_submodule(layer), nn.ConvTranspose2d):
                    change = change.T
                    bias = learner.get_parameter(f"{layer}.bias").detach()
                    assert torch.equal(bias, before[f"{layer}.bias"])  # held fixed
                assert (change @ basis).abs().max() < 1e-12
                moved.append(float(change.abs().max()))

    method = Watching(0.9, samples=30, generator=seeded(0))
    list(run(learner, method, tasks, optimizer, epochs=2))
    assert max(moved) > 1e-4
    for held, of in method.sizes().values():
        assert 0 < held <= max(1, int(0.9 * of)) < of
    for basis in method.bases.values():
        torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]).double())


def test_the_gradient_is_projected_before_the_step() -> None:
    learner = built(lambda: nn.Linear(6, 2))
    method = GPM(1.0, 1.0, None, generator=seeded(0))
    x = first_samples((6,), 3)
    method.end_task(learner, task(0, x, numbers(40, 2)))
    learner.loss((numbers(9, 6, seed=7), numbers(9, 2, seed=8))).backward()
    expected = torch.cat([learner.layer.weight.grad, learner.layer.bias.grad[:, None]], dim=1)
    u, s, _ = torch.linalg.svd(torch.cat([x, torch.ones(40, 1).double()], dim=1).T)
    seen = u[:, :4]
    assert s[4] < 1e-10 < s[3]
    expected = expected - expected @ seen @ seen.T
    method.correct_gradients(learner)
    torch.testing.assert_close(learner.layer.weight.grad, expected[:, :-1])
    torch.testing.assert_close(learner.layer.bias.grad, expected[:, -1])


class WithNorm(ContinualLearner):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(4, 5), nn.LayerNorm(5)
        self.scale = nn.Parameter(torch.ones(5))
        self.last = nn.Linear(5, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.norm(self.first(x)) * self.scale

    def decode(self, latent: Tensor) -> Tensor:
        return self.last(latent)


def test_parameters_without_a_basis_are_held_fixed_after_the_first_task() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learner = WithNorm().double()
    start = copy.deepcopy(learner.state_dict())
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    tasks = [task(k, numbers(30, 4, seed=k) * (k + 1)) for k in range(2)]
    loop = run(learner, GPM(0.6, generator=seeded(0)), tasks, optimizer)
    next(loop)
    first = copy.deepcopy(learner.state_dict())
    assert not any(torch.equal(start[name], value) for name, value in first.items())
    list(loop)
    fixed = {n for n, value in learner.state_dict().items() if torch.equal(value, first[n])}
    assert fixed == {"norm.weight", "norm.bias", "scale"}


def test_a_bias_frozen_since_holds_the_layer_fixed() -> None:
    learner = built(lambda: nn.Linear(6, 2))
    method = GPM(0.9, generator=seeded(0))
    tasks = [task(k, first_samples((6,), 3), numbers(40, 2, seed=k)) for k in range(2)]
    method.end_task(learner, tasks[0])
    learner.layer.bias.requires_grad_(False)
    before = learner.layer.weight.detach().clone()
    optimizer = torch.optim.SGD([learner.layer.weight], lr=0.1)
    list(run(learner, method, tasks, optimizer))
    assert torch.equal(learner.layer.weight, before)


def test_errors_name_what_arrived() -> None:
    with pytest.raises(ValueError, match=r"threshold is 1\.5"):
        GPM(1.5, generator=seeded(0))
    with pytest.raises(ValueError, match="largest_share is 0"):
        GPM(largest_share=0, generator=seeded(0))
    with pytest.raises(ValueError, match="samples is 0"):
        GPM(samples=0, generator=seeded(0))
