"""Importance of each sample's own loss, whatever a batch's loss makes of it, in any order."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from insituml import ContinualLearner
from insituml.gradients import mean_gradient_power
from insituml.gradients.sample_gradients import OneByOneWarning

WEIGHTS = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)


def masked(output: Tensor, labels: Tensor) -> Tensor:
    mask = (labels != 0).to(output.dtype)[:, None]
    return (output * mask).square().sum() / mask.sum().clamp(min=1)


def ignoring(output: Tensor, labels: Tensor) -> Tensor:
    total = F.cross_entropy(output, labels, ignore_index=0, reduction="sum")
    return total / (labels != 0).sum().clamp(min=1)


LOSSES = {
    "weighted": lambda o, y: F.cross_entropy(o, y, weight=WEIGHTS),
    "sum": lambda o, y: F.cross_entropy(o, y, reduction="sum"),
    "ignoring": ignoring,
    "masked": masked,
    "coupled": lambda o, y: (o - o.mean(0)).square().mean() + o.square().mean(),
    "largest": lambda o, y: F.cross_entropy(o, y, reduction="none").max(),
    "in_place": lambda o, y: o.sub_(1).square().mean(),
    "branching": lambda o, y: o.square().mean() * (2 if o.square().mean().item() > 0.3 else 1),
}


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one, self.two = nn.Linear(5, 5), nn.Linear(5, 3)
        self.empty = nn.Parameter(torch.zeros(0, 2))
        self.register_buffer("seen", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "running":
            self.seen = 0.9 * self.seen + 0.1 * x.detach().abs().mean()
            x = x / self.seen
        hidden = self.one(x).tanh()
        if self.kind == "sorted":  # rows of one call are not the samples in order
            order = x[:, 0].argsort()
            hidden = hidden + self.one(x[order]).tanh()[order.argsort()]
        elif self.kind == "behind":  # of some samples only
            hidden = hidden + F.linear(x, self.one.weight) * (x[:, :1] > 1)
        elif self.kind == "centred":
            hidden = hidden - hidden.mean(0)
        elif self.kind == "straight":
            hidden = StraightThrough.apply(hidden)
        elif self.kind == "checkpoint":
            hidden = checkpoint(lambda v: self.one(v).tanh(), hidden, use_reentrant=False)
        elif self.kind == "reentrant":
            hidden = checkpoint(lambda v: self.one(v).tanh(), hidden, use_reentrant=True)
        elif self.kind == "derivative":
            x = x.detach().requires_grad_()
            hidden = torch.autograd.grad(self.one(x).tanh().sum(), x, create_graph=True)[0]
        return self.two(hidden)


class Learner(ContinualLearner):
    def __init__(self, kind: str, loss: str) -> None:
        super().__init__()
        self.net, self.criterion = Net(kind), LOSSES[loss]

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.net(batch[0])

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return self.criterion(output, batch[1])


class Opaque(Learner):
    """The same loss, without an output to tell from it."""

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.criterion(self.net(batch[0]), batch[1])


def loss_of(module, batch):
    return module.loss(batch)


def samples(order: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(15, 5, dtype=torch.float64, generator=generator)
    y = torch.randint(0, 3, (15,), generator=generator)
    rows = y.argsort() if order == "sorted" else torch.arange(15)
    return x[rows], y[rows]


def assert_equals_the_loop(learner: ContinualLearner, batch: tuple[Tensor, ...]) -> None:
    expected = {n: torch.zeros_like(p) for n, p in learner.named_parameters()}
    for k in range(len(batch[0])):
        alone = copy.deepcopy(learner).eval()
        alone.loss(tuple(t[k : k + 1] for t in batch)).backward()
        for name, p in alone.named_parameters():
            if p.grad is not None:
                expected[name] += p.grad.square() / len(batch[0])
    for chunk_size in (16, 1):
        found = mean_gradient_power(learner, loss_of, batch, 2, chunk_size=chunk_size)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-14, msg=name)


def built(cls: type[Learner], kind: str, loss: str) -> Learner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(kind, loss).double()


IGNORED = f"ignore::{OneByOneWarning.__module__}.OneByOneWarning"


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.parametrize("order", ["sorted", "random"])
@pytest.mark.parametrize("cls", [Learner, Opaque])
@pytest.mark.parametrize("loss", LOSSES)
def test_any_loss_in_any_order(loss: str, cls: type[Learner], order: str) -> None:
    assert_equals_the_loop(built(cls, "plain", loss), samples(order))


KINDS = ["running", "sorted", "behind", "centred", "straight", "checkpoint", "reentrant"]


@pytest.mark.filterwarnings(IGNORED)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch, passing by
@pytest.mark.parametrize("kind", [*KINDS, "derivative"])
def test_any_network(kind: str) -> None:
    assert_equals_the_loop(built(Learner, kind, "weighted"), samples("sorted"))


def test_a_loss_of_nan_is_named() -> None:
    learner = built(Learner, "plain", "sum")
    learner.criterion = lambda o, y: (o * (y != 0)[:, None]).sum() / (y != 0).sum()
    with pytest.raises(ValueError, match=r"importance of parameter net\.one\.weight is NaN"):
        mean_gradient_power(learner, loss_of, samples("random"), 2)


def test_a_branch_that_a_whole_batch_takes_is_not_a_samples_own() -> None:
    """All companies of such samples take the branch, single ones do not."""

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2, dtype=torch.float64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) * (2 if x.sum() > 0 else 1)

    model = Branching()
    x = torch.tensor([[-1.0, 0.5], *[[3.0, 1.0 + k] for k in range(7)]], dtype=torch.float64)
    expected = torch.zeros(2, 2, dtype=torch.float64)
    for sample in x.split(1):
        (slope,) = torch.autograd.grad(model(sample).square().mean(), [model.layer.weight])
        expected += slope.square() / len(x)
    with pytest.warns(OneByOneWarning):
        found = mean_gradient_power(model, lambda m, b: m(b[0]).square().mean(), (x,), 2)
    torch.testing.assert_close(found["layer.weight"], expected, rtol=1e-12, atol=0)
