"""Generative replay: the old model draws, for conditions of past tasks."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Batch, Task
from insituml.learner import ContinualLearner
from insituml.methods import EWC, Combined, GenerativeReplay, Naive
from insituml.models import MLP, ConditionalFlow
from insituml.training import train


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Gaussian(ContinualLearner):
    """``x ~ N(W c + b, exp(s)²)``: the smallest conditional model that can sample."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 2))
        self.bias = nn.Parameter(torch.zeros(2))
        self.log_width = nn.Parameter(torch.zeros(2))

    def mean(self, c: Tensor) -> Tensor:
        return c @ self.weight.T + self.bias

    def loss(self, batch: Batch) -> Tensor:
        x, c = batch
        scaled = (x - self.mean(c)) / self.log_width.exp()
        return (0.5 * scaled.square() + self.log_width).sum(dim=1).mean()

    def sample(self, conditions: Batch, *, generator: torch.Generator) -> Tensor:
        (c,) = conditions
        noise = torch.randn(len(c), 2, generator=generator)
        return self.mean(c) + self.log_width.exp() * noise


CENTRES = torch.tensor([[3.0, -1.0], [-3.0, 2.0], [0.0, 4.0]])


def make_tasks(count: int = 2, samples: int = 64) -> list[Task]:
    """Task k has conditions near its own direction and points round its own centre."""
    generator, tasks = seeded(3), []
    for k in range(count):
        angle = torch.tensor(0.8 * k)
        c = torch.stack([angle.cos(), angle.sin()]) + 0.1 * torch.randn(
            samples, 2, generator=generator
        )
        x = CENTRES[k] + 0.3 * torch.randn(samples, 2, generator=generator)
        tasks.append(Task(k, f"task {k}", (x, c), (x[:8], c[:8])))
    return tasks


def fit(learner, method, tasks: list[Task], *, epochs: int = 60) -> None:
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.05)
    options = {"epochs": epochs, "batch_size": 16, "generator": seeded(1)}
    list(train(learner, method, tasks, optimizer, **options))


def test_samples_are_the_old_models_for_remembered_conditions() -> None:
    tasks, learner = make_tasks(), Gaussian()
    method = GenerativeReplay(40, 5, generator=seeded(0))
    fit(learner, method, tasks[:1], epochs=2)
    old = copy.deepcopy(learner)
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(1.0)  # what the learner has become since
    method.begin_task(learner, tasks[1])
    batch = tuple(t[:7] for t in tasks[1].train)
    state = method.generator.get_state()
    x, c = method.join(learner, batch)
    method.generator.set_state(state)
    conditions = method.memory.sample(5)
    drawn = old.sample(conditions, generator=method.generator)
    assert torch.equal(x[:7], batch[0])
    assert torch.equal(c[:7], batch[1])
    assert torch.equal(c[7:], conditions[0])
    assert torch.equal(x[7:], drawn)
    assert not x.requires_grad
    for row in c[7:]:  # conditions that task 0 had, none of task 1
        assert bool((tasks[0].train[1] == row).all(dim=1).any())
    for p, q in zip(method.teacher.model.parameters(), old.parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_replayed_cloud_follows_the_old_model() -> None:
    tasks, learner = make_tasks(), Gaussian()
    method = GenerativeReplay(64, 4000, generator=seeded(0))
    with torch.no_grad():
        learner.bias.copy_(torch.tensor([5.0, -2.0]))
        learner.weight.copy_(torch.tensor([[1.0, 0.5], [0.0, 2.0]]))
        learner.log_width.fill_(-1.0)
    method.end_task(learner, tasks[0])
    method.memory.draw = lambda size: torch.zeros(size, dtype=torch.int64)  # one condition
    x, c = method.join(Gaussian(), tuple(t[:1] for t in tasks[1].train))
    centre, width = x[1:].mean(dim=0), x[1:].std(dim=0)
    torch.testing.assert_close(centre, learner.mean(c[1:2])[0].detach(), rtol=0, atol=0.03)
    torch.testing.assert_close(width, torch.full((2,), -1.0).exp(), rtol=0.05, atol=0)


def test_only_conditions_of_past_tasks_are_kept() -> None:
    tasks = make_tasks(3)
    method = GenerativeReplay(1000, generator=seeded(0))
    fit(Gaussian(), method, tasks[:2], epochs=2)
    (conditions,), task_of = method.memory.all(), method.memory.tasks()
    assert method.memory.counts() == {0: 64, 1: 64}
    for task in tasks[:2]:
        assert torch.equal(conditions[task_of == task.index], task.train[1])


def test_the_past_is_remembered_without_its_data() -> None:
    tasks, errors = make_tasks(), {}
    for name, method in {
        "naive": Naive(generator=seeded(0)),
        "replay": GenerativeReplay(64, generator=seeded(0)),
    }.items():
        learner = Gaussian()
        fit(learner, method, tasks)
        errors[name] = (learner.mean(tasks[0].train[1]).mean(dim=0) - CENTRES[0]).norm().item()
    assert errors["replay"] < 0.5 * errors["naive"]


def test_beside_ewc_the_loss_is_the_sum_of_its_parts() -> None:
    tasks, learner = make_tasks(), Gaussian()
    both = Combined([partial(GenerativeReplay, 40, 5), partial(EWC, 5.0)], generator=seeded(0))
    fit(learner, both, tasks[:1], epochs=2)
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.1)
    both.begin_task(learner, tasks[1])
    replay, ewc = both.methods
    state = both.generator.get_state()
    loss = both.loss(learner, tasks[1].train)
    both.generator.set_state(state)
    together = replay.join(learner, tasks[1].train)
    tied = 5.0 * ewc.anchor.value(dict(learner.named_parameters()))
    assert tied > 1e-6
    torch.testing.assert_close(loss, learner.loss(together) + tied)


def test_a_learner_that_cannot_sample_is_named_before_the_first_step() -> None:
    method = GenerativeReplay(40, generator=seeded(0))
    with pytest.raises(ValueError, match=r"^MLP cannot draw samples; .*sample\(conditions") as e:
        fit(MLP(2, (3,), 1), method, make_tasks())
    assert "\n" not in str(e.value)


def test_a_task_without_conditions_is_refused() -> None:
    x = torch.zeros(4, 2)
    method = GenerativeReplay(40, generator=seeded(0))
    with pytest.raises(ValueError, match=r"task 0 \(bare\) has inputs only; .* further column"):
        fit(Gaussian(), method, [Task(0, "bare", (x,), (x,))])


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0)])
def test_impossible_sizes_are_refused(sizes) -> None:
    with pytest.raises(ValueError, match="is 0; expected 1"):
        GenerativeReplay(*sizes, generator=seeded(0))


def test_a_conditional_flow_replays_what_it_knew() -> None:
    tasks, errors = make_tasks(), {}
    for name, method in {
        "naive": Naive(generator=seeded(0)),
        "replay": GenerativeReplay(64, generator=seeded(0)),
    }.items():
        learner = ConditionalFlow(2, 2, couplings=2, hidden_sizes=(8,), bins=4)
        fit(learner, method, tasks[:1], epochs=5)
        old = copy.deepcopy(learner)
        fit(learner, method, tasks[1:], epochs=5)
        errors[name] = learner.loss(tasks[0].test).item() - old.loss(tasks[0].test).item()
    assert errors["replay"] < 0.5 * errors["naive"]
    # What is replayed are the old flow's own samples.
    method = GenerativeReplay(64, 5, generator=seeded(0))
    method.end_task(old, tasks[0])
    state = method.generator.get_state()
    x, c = method.join(learner, tuple(t[:3] for t in tasks[1].train))
    method.generator.set_state(state)
    conditions = method.memory.sample(5)
    assert torch.equal(c[3:], conditions[0])
    assert torch.equal(x[3:], old.sample(conditions, generator=method.generator))
