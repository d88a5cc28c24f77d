"""Dark experience replay: which outputs are stored, and that the loss compares with them."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from insituml.data.task import Batch, Task
from insituml.methods import DER, EWC, Combined, DERPlusPlus
from insituml.models import MLP
from insituml.original_interface import CallOrderError
from insituml.training import train

CLASSES = [DER, DERPlusPlus]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 2, samples: int = 12) -> list[Task]:
    generator, tasks = seeded(3), []
    for k in range(count):
        x = torch.randn(samples, 4, generator=generator, dtype=torch.float64) + k
        y = torch.arange(samples) + 100 * k
        tasks.append(Task(k, f"task {k}", (x, y), (x[:3], y[:3])))
    return tasks


def make_learner() -> MLP:
    return MLP(4, (5,), 2, "tanh").double()


class Recording(MLP):
    """Notes the size of every batch."""

    def __init__(self) -> None:
        super().__init__(4, (5,), 2, "tanh")
        self.double()
        self.passes: list[int] = []

    def output(self, batch: Batch) -> Tensor:
        output = super().output(batch)
        self.passes.append(len(output))
        return output


def fit(learner, method, tasks: list[Task], *, epochs: int = 1) -> None:
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
    options = {"epochs": epochs, "batch_size": 5, "generator": seeded(1)}
    list(train(learner, method, tasks, optimizer, **options))


@pytest.mark.parametrize("cls", CLASSES)
def test_after_a_task_its_outputs_are_those_of_the_model_that_learned_it(cls) -> None:
    learner, method = make_learner(), cls(14, generator=seeded(0))
    learned: dict[int, MLP] = {}
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
    options = {"epochs": 3, "batch_size": 5, "generator": seeded(1)}
    for record in train(learner, method, make_tasks(), optimizer, **options):
        learned[record.task] = copy.deepcopy(learner)
        (x, labels, outputs), tasks = method.memory.all(), method.memory.tasks()
        assert set(tasks.tolist()) == set(learned)
        for sample, label, stored, task in zip(x, labels, outputs, tasks.tolist(), strict=True):
            assert torch.equal(sample, make_tasks()[task].train[0][label % 100])
            with torch.no_grad():
                expected = learned[task](sample[None])[1][0]
            torch.testing.assert_close(stored, expected, rtol=1e-12, atol=1e-14)


def test_only_past_tasks_are_replayed() -> None:
    tasks, learner, method = make_tasks(3), make_learner(), DER(50, generator=seeded(0))
    for task in tasks:
        method.begin_task(learner, task)
        method.loss(learner, task.train)
        method.observe(learner, task.train)
        if task.index:
            _, labels, _ = method.draw(task.train)
            assert len(labels) == len(task.train[0])
            assert (labels // 100 < task.index).all()


def test_without_a_sample_of_the_past_nothing_is_added() -> None:
    tasks, learner, method = make_tasks(), make_learner(), DER(1, generator=seeded(0))
    method.begin_task(learner, tasks[1])
    method.memory.add((*tasks[1].train, tasks[1].train[0]), 1)  # the only row is the present's
    loss = method.loss(learner, tasks[1].train)
    assert torch.equal(loss, learner.loss(tasks[1].train))


@pytest.mark.parametrize("cls", CLASSES)
def test_the_loss_by_hand(cls) -> None:
    tasks, learner, alpha, beta = make_tasks(), make_learner(), 0.7, 0.3
    options = {} if cls is DER else {"beta": beta}
    method = cls(50, 4, alpha, **options, generator=seeded(0))
    method.begin_task(learner, tasks[0])
    assert torch.equal(method.loss(learner, tasks[0].train), learner.loss(tasks[0].train))
    method.observe(learner, tasks[0].train)
    method.end_task(learner, tasks[0])
    with torch.no_grad():
        before = learner(tasks[0].train[0])[1].clone()
        for p in learner.parameters():
            p.mul_(1.2)
    method.begin_task(learner, tasks[1])
    state = method.generator.get_state()
    loss = method.loss(learner, tasks[1].train)
    method.generator.set_state(state)
    draws = [torch.randperm(12, generator=method.generator)[:4] for _ in range(2)]
    x = tasks[0].train[0]
    expected = (learner(tasks[1].train[0])[1] - tasks[1].train[0]).square().mean()
    first = learner(x[draws[0]])[1] - before[draws[0]]
    expected = expected + alpha * first.square().mean()
    if cls is DERPlusPlus:
        second = learner(x[draws[1]])[1] - x[draws[1]]
        expected = expected + beta * second.square().mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    assert loss.requires_grad
    assert not any(column.requires_grad for column in method.memory.all())


def test_only_the_replayed_samples_cost_a_forward_pass_more() -> None:
    learner, tasks = Recording(), make_tasks()
    method = DER(50, 4, generator=seeded(0))
    fit(learner, method, tasks[:1])
    assert learner.passes == [5, 5, 2, 12]  # at last, all that is stored
    learner.passes.clear()
    fit(learner, method, tasks[1:])
    assert learner.passes == [5, 4, 5, 4, 2, 4, 12]


def test_beside_ewc_the_loss_is_the_sum_of_its_parts() -> None:
    tasks, learner = make_tasks(), make_learner()
    both = Combined([partial(EWC, 5.0), partial(DER, 50, 4, 0.7)], generator=seeded(0))
    fit(learner, both, tasks[:1])
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.2)
    both.begin_task(learner, tasks[1])
    ewc, der = both.methods
    state = both.generator.get_state()
    loss = both.loss(learner, tasks[1].train)
    both.generator.set_state(state)
    x, _, stored = der.memory.sample(4)
    parts = [
        learner.loss(tasks[1].train),
        5.0 * ewc.anchor.value(dict(learner.named_parameters())),
        0.7 * mse_loss(learner(x)[1], stored),
    ]
    assert min(part.item() for part in parts) > 1e-6
    torch.testing.assert_close(loss, sum(parts), rtol=1e-12, atol=0)


@pytest.mark.parametrize("cls", CLASSES)
def test_observing_without_the_loss_says_what_is_missing(cls) -> None:
    tasks = make_tasks()
    method = cls(50, generator=seeded(0))
    with pytest.raises(CallOrderError, match=rf"{cls.__name__} makes room .* call loss"):
        method.observe(make_learner(), tasks[0].train)


@pytest.mark.parametrize(
    "cls, options, said",
    [
        (DER, {"alpha": -0.1}, "alpha is -0.1; expected 0 or more"),
        (DER, {"replay_size": 0}, "replay_size is 0; expected 1 or more"),
        (DERPlusPlus, {"beta": -1.0}, "beta is -1.0; expected 0 or more"),
        (DERPlusPlus, {"memory_size": 0}, "capacity is 0"),
    ],
)
def test_impossible_options_are_refused(cls, options, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cls(**{"memory_size": 10, **options}, generator=seeded(0))
