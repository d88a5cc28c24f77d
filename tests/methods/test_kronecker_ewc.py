"""Kronecker-factored EWC: an anchor that knows correlations, at constant cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.methods import EWC, KroneckerEWC
from insituml.models import MLP


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def task(index: int, *columns: Tensor) -> Task:
    return Task(index, f"task {index}", columns, columns)


class LinearRegression(ContinualLearner):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False).double()
        with torch.no_grad():
            self.layer.weight.copy_(numbers(1, 3, seed=1))

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.layer(batch[0])

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return 0.5 * (output - batch[1]).square().sum(dim=1).mean()


def test_directions_the_past_task_did_not_use_are_free() -> None:
    # Inputs along (1, 1, 0) alone: a weight change orthogonal to them costs nothing, which no
    # diagonal penalty can know.
    learner = LinearRegression()
    x = numbers(30, 1) * torch.tensor([1.0, 1.0, 0.0]).double()
    past = task(0, x, numbers(30, 1, seed=2))
    methods = [KroneckerEWC(1.0, generator=seeded(0)), EWC(1.0, generator=seeded(0))]
    for method in methods:
        method.end_task(learner, past)
    weight = learner.layer.weight.detach().clone()
    costs = []
    for direction in ([1.0, -1.0, 0.0], [1.0, 1.0, 0.0]):
        with torch.no_grad():
            learner.layer.weight.copy_(weight + torch.tensor(direction).double())
        costs += [m.penalty(learner, past.train, None).item() for m in methods]
    free, diagonal, held, _ = costs
    assert abs(free) < 1e-12 < 1e-3 < diagonal
    assert held > 1e-3


def test_state_and_memory_do_not_grow_with_the_tasks() -> None:
    learner, method = MLP(4, (5,), 2).double(), KroneckerEWC(1.0, generator=seeded(0))
    sizes = []
    for k in range(4):
        method.end_task(learner, task(k, numbers(20, 4, seed=k)))
        sizes.append(method.memory_bytes())
    assert len(set(sizes)) == 1


def test_loss_is_the_learners_plus_strength_times_the_penalty() -> None:
    learner, method = MLP(4, (5,), 2).double(), KroneckerEWC(7.0, 0.5, generator=seeded(0))
    batch = (numbers(6, 4),)
    assert method.loss(learner, batch) == learner.loss(batch)
    for k in range(2):
        method.end_task(learner, task(k, numbers(20, 4, seed=k)))
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.1)
    penalty = method.anchor.value(dict(learner.named_parameters()))
    expected = learner.loss(batch) + 7 * penalty
    torch.testing.assert_close(method.loss(learner, batch), expected, rtol=1e-12, atol=0)


def test_errors_name_what_arrived() -> None:
    with pytest.raises(ValueError, match="gamma is 2"):
        KroneckerEWC(1.0, 2.0, generator=seeded(0))
    with pytest.raises(ValueError, match="strength is -1"):
        KroneckerEWC(-1.0, generator=seeded(0))
    with pytest.raises(ValueError, match="fisher_samples is 0"):
        KroneckerEWC(1.0, fisher_samples=0, generator=seeded(0))
    with pytest.raises(ValueError, match="max_width is 0"):
        KroneckerEWC(1.0, max_width=0, generator=seeded(0))
