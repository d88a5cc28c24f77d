"""GEM: one constraint a past task, from that task's stored samples."""

from __future__ import annotations

import copy

import pytest
import torch

from insituml.data.task import Task
from insituml.methods import GEM
from insituml.models import MLP


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 3) -> list[Task]:
    generator, tasks = seeded(10), []
    for k in range(count):
        x = torch.randn(12, 4, generator=generator, dtype=torch.float64) + 3.0 * k
        tasks.append(Task(k, "", (x,), (x[:2],)))
    return tasks


def test_no_past_task_loses_to_first_order_and_the_change_is_the_least() -> None:
    learner, tasks = MLP(4, (5,), 2, generator=seeded(3)).double(), make_tasks()
    method = GEM(24, 2, generator=seeded())
    for task in tasks[:2]:
        method.end_task(learner, task)
    parameters = list(learner.parameters())
    # A new task that wants the opposite of the two past ones, and something of its own.
    first, second, own = (learner.loss(task.train) for task in tasks)
    wish = 0.1 * own - first - second
    wish.backward()
    plain = [p.grad.clone() for p in parameters]
    method.correct_gradients(learner)
    plain, corrected = (
        torch.cat([g.reshape(-1) for g in gs]) for gs in (plain, [p.grad for p in parameters])
    )
    past = torch.stack(
        [
            torch.cat(
                [g.reshape(-1) for g in torch.autograd.grad(learner.loss(t.train), parameters)]
            )
            for t in tasks[:2]
        ]
    )
    assert (past @ plain < 0).any()
    assert (past @ corrected > -1e-9 * past.norm(dim=1) * corrected.norm()).all()
    # Karush, Kuhn, Tucker: the change is a non-negative sum of active constraints.
    weights = torch.linalg.lstsq(past.T, (corrected - plain)[:, None]).solution[:, 0]
    torch.testing.assert_close(weights @ past, corrected - plain)
    assert (weights > -1e-9).all()
    assert (weights * (past @ corrected)).abs().max() < 1e-9

    before = [learner.loss(t.train).item() for t in tasks[:2]]
    with torch.no_grad():
        for p in parameters:
            p.sub_(1e-6 * p.grad)
    change = [learner.loss(t.train).item() - b for t, b in zip(tasks, before, strict=False)]
    assert all(c < 1e-9 for c in change)


def test_the_first_task_is_left_alone() -> None:
    learner = MLP(4, (5,), 2).double()
    learner.loss(make_tasks()[0].train).backward()
    before = copy.deepcopy([p.grad for p in learner.parameters()])
    GEM(24, 2, generator=seeded()).correct_gradients(learner)
    assert all(torch.equal(p.grad, b) for p, b in zip(learner.parameters(), before, strict=True))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"margin is -0.1"):
        GEM(24, 2, margin=-0.1, generator=seeded())
