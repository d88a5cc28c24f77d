"""An estimate leaves the module as it was: objects, bits, modes, gradients, hooks, generators."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from insituml.gradients import diagonal_fisher, kronecker_fisher, per_sample_losses
from insituml.gradients.sample_gradients import OneByOneWarning


class Restless(nn.Module):
    """A shared layer, tied weights, buffers and attributes that each forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Linear(3, 3)
        self.again = self.block
        self.out = nn.Linear(3, 3)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.out.weight
        self.norm = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
        self.batch_norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))
        self.count, self.seen = 0, [torch.zeros(2)]

    def forward(self, x: Tensor) -> Tensor:
        self.scale = 0.9 * self.scale + 0.1 * x.detach().abs().mean()
        self.calls += 1
        self.count += 1
        self.seen.append(x)
        self.seen[0] += 1
        self.last = torch.tanh(self.block(x / self.scale))
        hidden = self.batch_norm(self.norm(self.again(self.last)))
        return self.tied(self.out(self.drop(hidden)))


def fitting(module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return (module(batch[0]) - 1).square().mean() + 0 * torch.rand(())


def failing(module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    fitting(module, batch)
    with torch.no_grad():
        module.block.weight.zero_()
    module.out.weight.requires_grad_(False)
    raise OSError("no such luck")


def fingerprint(module: nn.Module):
    objects = [id(t) for t in (*module.parameters(), *module.buffers())]
    values = [t.clone() for t in (*module.parameters(), *module.buffers(), *module.seen)]
    rest = [m.training for m in module.modules()], module.count, hasattr(module, "last")
    grads = [(id(p.grad), p.requires_grad) for p in module.parameters()]
    hooks = [len(m._forward_hooks) for m in module.modules()]
    return objects, rest, grads, hooks, set(vars(module)), values


ESTIMATES = {
    "fisher": lambda m, loss, x: diagonal_fisher(m, loss, (x,)),
    "loop": lambda m, loss, x: diagonal_fisher(m, loss, (x,), chunk_size=1),
    "kronecker": lambda m, loss, x: kronecker_fisher(m, loss, (x,)),
    "losses": lambda m, loss, x: per_sample_losses(m, loss, (x,)),
}


@pytest.mark.filterwarnings(f"ignore::{OneByOneWarning.__module__}.OneByOneWarning")
@pytest.mark.parametrize("loss", [fitting, failing])
@pytest.mark.parametrize("estimate", ESTIMATES)
def test_everything_is_as_it_was(estimate: str, loss) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Restless()
        module.norm.eval()
        module.out.weight.grad = torch.ones(3, 3)
        module(torch.randn(5, 3))
        before, state = fingerprint(module), torch.get_rng_state()
        x = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
        if loss is failing:
            with pytest.raises(OSError, match="no such luck"):
                ESTIMATES[estimate](module, loss, x)
        else:
            ESTIMATES[estimate](module, loss, x)
        assert torch.equal(torch.get_rng_state(), state)
    after = fingerprint(module)
    assert after[:-1] == before[:-1]
    assert all(torch.equal(a, b) for a, b in zip(after[-1], before[-1], strict=True))


@pytest.mark.filterwarnings(f"ignore::{OneByOneWarning.__module__}.OneByOneWarning")
def test_each_sample_finds_the_buffers_as_they_were() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Restless().double().eval()
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)).double()
    expected = {n: torch.zeros_like(p) for n, p in module.named_parameters()}
    for k in range(6):
        alone = copy.deepcopy(module)
        fitting(alone, (x[k : k + 1],)).backward()
        for name, p in alone.named_parameters():
            expected[name] += p.grad.square() / 6
    for chunk_size in (1, 16):
        found = diagonal_fisher(module, fitting, (x,), chunk_size=chunk_size)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-15)
