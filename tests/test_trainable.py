"""What cannot be trained is said before it is, and a lone last sample is no trouble."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from insituml import ContinualLearner, train
from insituml.data.task import Task
from insituml.in_transit import InTransitTrainer
from insituml.methods import Naive
from insituml.models import MLP


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(samples: int = 17, *columns: torch.Tensor) -> Task:
    batch = (torch.randn(samples, 4, generator=seeded()), *columns)
    return Task(0, "first", batch, batch)


def run(learner, *, tasks=None, optimizer=None, **options):
    optimizer = optimizer or torch.optim.SGD(learner.parameters(), lr=0.1)
    settings = {"epochs": 1, "batch_size": 4, "generator": seeded(1), **options}
    tasks = [task()] if tasks is None else tasks
    return list(train(learner, Naive(generator=seeded()), tasks, optimizer, **settings))


class Linear(ContinualLearner):
    def __init__(self, normed: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4) if normed else nn.Identity()
        self.sizes: list[int] = []

    def output(self, batch):
        self.sizes.append(len(batch[0]))
        return self.norm(self.layer(batch[0]))


class ClosureOnly(torch.optim.SGD):
    def step(self, closure):  # type: ignore[override]
        return super().step(closure)


@pytest.mark.parametrize(
    "make", [torch.optim.LBFGS, lambda p: ClosureOnly(p, lr=0.1)], ids=["LBFGS", "ClosureOnly"]
)
def test_optimizers_that_need_a_closure_are_named(make, request) -> None:
    learner = MLP(4)
    name = request.node.callspec.id
    with pytest.raises(ValueError, match=rf"^{name}\.step needs a closure"):
        run(learner, optimizer=make(learner.parameters()))
    with pytest.raises(ValueError, match=rf"^{name}\.step needs a closure"):
        InTransitTrainer(
            learner, Naive(generator=seeded()), make(learner.parameters()), now_samples=1,
            task_samples=1, batches_per_arrival=1, batch_size=1, generator=seeded(),
        )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam",
     "RMSprop", "Rprop", "SGD"],
)  # fmt: skip
def test_other_optimizers_train(name: str) -> None:
    learner = MLP(4)
    before = [p.detach().clone() for p in learner.parameters()]
    run(learner, optimizer=getattr(torch.optim, name)(learner.parameters(), lr=0.01))
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.parameters(), strict=True))


def test_an_optimizer_of_another_learner_or_of_a_part() -> None:
    learner, other = Linear(), Linear()
    with pytest.raises(ValueError, match=r"2 of the 2 parameters of SGD are not Linear's"):
        run(learner, optimizer=torch.optim.SGD(other.parameters(), lr=0.1))
    stale = torch.optim.SGD(learner.parameters(), lr=0.1)
    learner.layer = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="was a layer replaced"):
        run(learner, optimizer=stale)
    part = torch.optim.SGD([learner.layer.weight], lr=0.1)
    with pytest.warns(UserWarning, match=r"1 trainable parameters, such as layer\.bias, are not"):
        run(learner, optimizer=part)
    elsewhere = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.warns(UserWarning, match=r"2 trainable parameters, such as layer\.weight, are not"):
        run(learner, optimizer=elsewhere)
    learner.layer.bias.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(learner, optimizer=part)


@pytest.mark.parametrize(
    "normed, samples, sizes",
    [
        (True, 17, [4, 4, 4, 5]), (True, 5, [5]), (True, 18, [4, 4, 4, 4, 2]), (True, 3, [3]),
        (False, 17, [4, 4, 4, 4, 1]), (False, 1, [1]),
    ],
)  # fmt: skip
def test_a_lone_last_sample_joins_where_batches_are_normalised(normed, samples, sizes) -> None:
    learner = Linear(normed)
    run(learner, tasks=[task(samples)])
    assert learner.sizes == sizes


@pytest.mark.parametrize(
    "loss, message",
    [
        (lambda out: out.square().mean(dim=1), r"shape \(4,\)"),
        (lambda out: out.square().mean().item(), "is a float"),
        (lambda out: None, "is a NoneType"),
        (lambda out: (out.mean(), out), "is a tuple"),
        (lambda out: out.mean().detach(), "no trainable parameter takes part"),
        (lambda out: torch.complex(out, out).mean(), "complex64"),
        (lambda out: out[:0], r"shape \(0, 4\)"),
    ],
)
def test_what_is_no_loss(loss, message: str) -> None:
    class Odd(Linear):
        def loss(self, batch):
            return loss(self.output(batch))

    with pytest.raises(ValueError, match=f"the loss of Odd.*{message}|{message}.*loss of Odd"):
        run(Odd())


def test_a_loss_of_one_entry_is_a_scalar() -> None:
    class Kept(Linear):
        def loss(self, batch):
            return super().loss(batch).reshape(1, 1)

    results = []
    for learner in (Linear(), Kept()):
        learner.load_state_dict({"layer.weight": torch.eye(4) / 2, "layer.bias": torch.zeros(4)})
        run(learner)
        results.append(learner.layer.weight)
    assert torch.equal(*results)


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None, float("nan")])
def test_counts(name: str, value) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        run(Linear(), **{name: value})


def test_tasks_without_samples() -> None:
    with pytest.raises(ValueError, match="tasks is empty"):
        run(Linear(), tasks=[])
    for empty in (task(0), Task(0, "first", (), ())):
        with pytest.raises(ValueError, match=r"task 0 \(first\) has no sample"):
            run(Linear(), tasks=[empty])
    with pytest.raises(ValueError, match=r"columns of \[17, 3\] samples"):
        run(Linear(), tasks=[task(17, torch.zeros(3))])


def test_the_first_step_that_diverged_is_named() -> None:
    class Late(Linear):
        def loss(self, batch):
            factor = float("nan") if len(self.sizes) == 2 else 1.0
            return super().loss(batch) * factor

    with pytest.raises(RuntimeError, match=r"nan in step 3, epoch 1 of task 0 \(first\)"):
        run(Late())
