"""Learning without forgetting: a frozen teacher, and a penalty with the right gradient."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.methods import AGEM, Combined, LwF, Naive
from insituml.models import MLP
from insituml.training import train


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 2, dtype: torch.dtype = torch.float32) -> list[Task]:
    generator, tasks = seeded(3), []
    for k in range(count):
        x = torch.randn(12, 4, generator=generator, dtype=dtype) + k
        tasks.append(Task(k, f"task {k}", (x,), (x[:3],)))
    return tasks


class Normed(ContinualLearner):
    """Batch normalisation and dropout: buffers, and outputs that depend on the mode."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inner = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
            self.outer = nn.Linear(5, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def decode(self, latent: Tensor) -> Tensor:
        return self.outer(latent)


def fit(learner: ContinualLearner, method, tasks: list[Task], *, epochs: int = 2) -> None:
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
    options = {"epochs": epochs, "batch_size": 4, "generator": seeded(1)}
    list(train(learner, method, tasks, optimizer, **options))


def test_the_teacher_is_the_model_of_the_last_task_bit_for_bit() -> None:
    first, second = make_tasks()
    learner, method = Normed(), LwF(1.0, generator=seeded(0))
    fit(learner, method, [first])
    kept = copy.deepcopy(learner.state_dict())
    expected = copy.deepcopy(learner).eval()(second.train[0])[1]
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
    learner.train()
    method.begin_task(learner, second)
    for rows in torch.arange(12).split(4):
        optimizer.zero_grad()
        method.loss(learner, tuple(t[rows] for t in second.train)).backward()
        optimizer.step()
    assert not torch.equal(learner.outer.weight, kept["outer.weight"])
    model = method.teacher.model
    assert model is not None
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name]), name
    output = method.teacher.output(second.train)
    assert torch.equal(output, expected)
    assert not output.requires_grad


def test_training_renews_the_teacher_after_every_task() -> None:
    learner, method = Normed(), LwF(1.0, generator=seeded(0))
    for task in make_tasks(3):
        fit(learner, method, [task])
        held = method.teacher.state_dict()
        assert held is not None
        assert all(torch.equal(held[name], v) for name, v in learner.state_dict().items())
        assert method.memory_bytes() == sum(v.nbytes for v in learner.state_dict().values())


def test_the_gradient_of_the_penalty_equals_finite_differences() -> None:
    first, second = make_tasks(dtype=torch.float64)
    learner, strength = MLP(4, (5,), 2, "tanh").double(), 3.0
    method = LwF(strength, generator=seeded(0))
    method.end_task(learner, first)
    teacher = copy.deepcopy(learner)
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.3).add_(0.05)
    batch = second.train

    def penalty() -> Tensor:
        value = method.penalty(learner, batch, learner.output(batch))
        assert value is not None
        return value

    by_hand = strength * (learner(batch[0])[1] - teacher(batch[0])[1]).square().mean()
    torch.testing.assert_close(penalty(), by_hand, rtol=1e-12, atol=0)
    gradients = torch.autograd.grad(penalty(), list(learner.parameters()))
    step = 1e-6
    for parameter, gradient in zip(learner.parameters(), gradients, strict=True):
        numeric = torch.zeros_like(parameter)
        for place in range(parameter.numel()):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[place] += sign * step
                    values.append(penalty())
                    parameter.view(-1)[place] -= sign * step
            numeric.view(-1)[place] = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(gradient, numeric, rtol=1e-5, atol=1e-8)


def test_the_first_task_is_plain_training_and_one_forward_pass_serves_loss_and_penalty() -> None:
    calls = []

    class Counting(MLP):
        def encode(self, x: Tensor) -> Tensor:
            raise AssertionError("not used")

        def forward(self, x: Tensor):
            calls.append(len(x))
            return super().forward(x)

    (first, second), learner = make_tasks(), Counting(4, (5,), 2)
    plain = copy.deepcopy(learner)
    method = LwF(1.0, generator=seeded(0))
    fit(learner, method, [first])
    fit(plain, Naive(generator=seeded(0)), [first])
    for actual, expected in zip(learner.parameters(), plain.parameters(), strict=True):
        assert torch.equal(actual, expected)
    calls.clear()
    method.loss(learner, second.train)
    assert calls == [12, 12]  # the student's and the teacher's


def test_strength_keeps_outputs_near_the_teachers() -> None:
    first, second = make_tasks()
    distances = []
    for strength in (0.0, 1.0, 5.0):
        learner = MLP(4, (5,), 2)
        method = LwF(strength, generator=seeded(0))
        fit(learner, method, [first], epochs=10)
        teacher = copy.deepcopy(method.teacher)
        fit(learner, method, [second], epochs=10)
        distances.append(mse_loss(learner.output(second.train), teacher.output(second.train)))
    assert distances[0] > 2 * distances[1] > 4 * distances[2] > 0


def test_beside_agem_the_loss_is_the_sum_and_the_whole_gradient_is_projected() -> None:
    tasks = make_tasks(3, torch.float64)
    learner = MLP(4, (5,), 2, "tanh").double()
    both = Combined(
        [partial(LwF, 2.0), partial(AGEM, memory_size=24, total_tasks=2)], generator=seeded(0)
    )
    both.end_task(learner, tasks[0])
    teacher = copy.deepcopy(learner)
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.2)
    batch = (0.1 * tasks[2].train[0],)  # whose gradient conflicts with that of task 0
    loss = both.loss(learner, batch)
    distance = mse_loss(learner(batch[0])[1], teacher(batch[0])[1])
    torch.testing.assert_close(loss, learner.loss(batch) + 2.0 * distance, rtol=1e-12, atol=0)
    loss.backward()
    raw = torch.cat([p.grad.reshape(-1) for p in learner.parameters()])
    memory = tasks[0].train
    reference = torch.autograd.grad(learner.loss(memory), list(learner.parameters()))
    flat = torch.cat([g.reshape(-1) for g in reference])
    both.correct_gradients(learner)
    corrected = torch.cat([p.grad.reshape(-1) for p in learner.parameters()])
    assert raw @ flat < 0  # the test would show nothing if there were no conflict
    expected = raw - (raw @ flat) / (flat @ flat) * flat
    torch.testing.assert_close(corrected, expected, rtol=1e-9, atol=1e-12)


def test_a_negative_strength_is_refused() -> None:
    with pytest.raises(ValueError, match=r"strength is -1.* expected 0 or more"):
        LwF(-1.0, generator=seeded(0))


def test_a_learner_that_keeps_tensors_of_its_last_pass_is_copied() -> None:
    class Keeping(MLP):
        def output(self, batch):
            self.kept = super().output(batch)
            return self.kept

    learner, method = Keeping(4, (5,), 2), LwF(1.0, generator=torch.Generator())
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    learner.loss((x,)).backward()
    method.end_task(learner, Task(0, "", (x,), (x,)))
    assert torch.equal(method.teacher.output((x,)), learner.output((x,)).detach())
