"""MAS: importance by the squared norm of the output."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.methods import MAS
from insituml.models import AutoEncoder2D


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class LinearModel(ContinualLearner):
    """``f(x) = W x``; its loss has nothing to do with its output's norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, bias=False).double()
        with torch.no_grad():
            self.layer.weight.copy_(numbers(2, 3, seed=1))

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.layer(batch[0])

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return (output - 5).abs().mean()


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def task(index: int, x: Tensor) -> Task:
    return Task(index, f"task {index}", (x,), (x,))


def test_importance_of_a_linear_model_by_hand() -> None:
    # ‖W x‖² has the gradient 2 (W x) xᵀ.
    learner, x = LinearModel(), numbers(20, 3)
    method = MAS(1.0, generator=seeded(0))
    method.end_task(learner, task(0, x))
    weight = learner.layer.weight.detach()
    expected = torch.stack([2 * torch.outer(weight @ row, row).abs() for row in x]).mean(0)
    torch.testing.assert_close(
        method.anchor.precision["layer.weight"], expected, rtol=1e-12, atol=0
    )


def test_importance_adds_up_over_tasks_and_the_anchor_moves() -> None:
    learner, method = LinearModel(), MAS(3.0, generator=seeded(0))
    importances = []
    for k in range(3):
        with torch.no_grad():
            learner.layer.weight.add_(0.1 * k)
        x = numbers(20, 3, seed=k) * (k + 1)
        alone = MAS(3.0, generator=seeded(0))
        alone.end_task(learner, task(0, x))
        importances.append(alone.anchor.precision["layer.weight"])
        method.end_task(learner, task(k, x))
    anchor = learner.layer.weight.detach().clone()
    with torch.no_grad():
        learner.layer.weight.mul_(1.3)
    batch = (numbers(4, 3),)
    offset = learner.layer.weight - anchor
    expected = learner.loss(batch) + 1.5 * (sum(importances) * offset.square()).sum()
    torch.testing.assert_close(method.loss(learner, batch), expected, rtol=1e-12, atol=0)
    assert method.memory_bytes() == 2 * 6 * 8 + 8  # whatever the number of tasks


def test_equals_a_loop_over_samples_and_sees_no_target() -> None:
    learner, x = AutoEncoder2D((1, 5, 6), (2, 3), 4).double(), numbers(9, 1, 5, 6)
    method = MAS(1.0, generator=seeded(0))
    method.end_task(learner, task(0, x))
    reference = copy.deepcopy(learner)
    total = {name: torch.zeros_like(p) for name, p in reference.named_parameters()}
    for n in range(len(x)):
        reference.zero_grad()
        reference(x[n : n + 1])[1].square().sum().backward()
        for name, p in reference.named_parameters():
            total[name] += p.grad.abs() / len(x)
    for name, expected in total.items():
        torch.testing.assert_close(method.anchor.precision[name], expected, rtol=1e-9, atol=1e-14)


def test_errors_name_what_arrived() -> None:
    with pytest.raises(ValueError, match="importance_samples is 0"):
        MAS(1.0, importance_samples=0, generator=seeded(0))
    with pytest.raises(ValueError, match="strength is -1"):
        MAS(-1.0, generator=seeded(0))
