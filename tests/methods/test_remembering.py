"""Every method with a memory works with every kind of memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from insituml import memory as kinds
from insituml.data.task import Task
from insituml.in_transit import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.memory import EpisodicMemory, Memory, ReservoirMemory, RingMemory
from insituml.methods import AGEM, GEM, SGEM
from insituml.methods.encoding import features, losses
from insituml.methods.remembering import Remembering
from insituml.models import MLP
from insituml.training import train
from tests.method_examples import CLASSES, arguments_of, make

METHODS = sorted(name for name, cls in CLASSES.items() if issubclass(cls, Remembering))
KINDS: dict[str, Callable[..., Memory]] = {
    name: getattr(kinds, name) for name in kinds.__all__ if name.endswith("Memory")
}
del KINDS["Memory"]
KINDS["EpisodicMemory"] = partial(EpisodicMemory, total_tasks=3)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 3, samples: int = 20) -> list[Task]:
    generator, tasks = seeded(10), []
    for k in range(count):
        x = torch.randn(samples, 4, generator=generator) + 2.0 * k
        number = 100 * k + torch.arange(samples)
        tasks.append(Task(k, f"task {k}", (x, number), (x[:4], number[:4])))
    return tasks


class Sampling(MLP):
    def sample(self, conditions: tuple[Tensor, ...], *, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(conditions[0]), 2, generator=generator)
        return self.decode(noise) + conditions[0].unsqueeze(1) / 100


def learner() -> MLP:
    return Sampling(4, (5,), 2, generator=seeded(7))


class Reshaping(MLP):
    """What cannot be done with no sample."""

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x.reshape(len(x), -1))


class WithoutEncoder(ContinualLearner):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.layer(batch[0].reshape(len(batch[0]), -1))

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return output.square().mean()


@pytest.mark.parametrize(
    "built, asked, width",
    [
        (partial(Reshaping, 4, (5,), 2), lambda model, samples: model.encode(samples[0]), 2),
        (WithoutEncoder, lambda model, samples: model.output(samples), 3),
    ],
)
def test_of_no_samples_there_are_no_rows_but_of_the_width_of_others(built, asked, width) -> None:
    model, samples = built(), make_tasks(1)[0].train
    nothing = tuple(column[:0] for column in samples)
    with pytest.raises(RuntimeError, match="cannot reshape"):
        asked(model, nothing)
    assert features(model, samples).shape == (20, width)
    assert features(model, nothing).shape == (0, width)
    assert losses(model, nothing).shape == (0,)


class Run:
    """A learner, a method with some memory and an optimizer."""

    def __init__(self, name: str, memory: Callable[..., Memory], **changes: Any) -> None:
        self.learner = learner()
        options = {"memory": memory, "total_tasks": None, **changes}
        if "total_tasks" not in arguments_of(name):
            del options["total_tasks"]
        self.method = make(name, seeded(0), **options)
        self.optimizer = torch.optim.SGD(self.learner.parameters(), lr=0.02, momentum=0.9)
        self.order = seeded(5)

    def go(self, tasks: list[Task], finished: int = 0) -> None:
        options = {"epochs": 2, "batch_size": 5, "generator": self.order}
        options["finished_tasks"] = finished
        list(train(self.learner, self.method, tasks, self.optimizer, **options))

    def copied_from(self, other: Run) -> Run:
        self.learner.load_state_dict(copy.deepcopy(other.learner.state_dict()))
        self.method.load_state_dict(copy.deepcopy(other.method.state_dict()), self.learner)
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))
        self.order.set_state(other.order.get_state())
        return self

    def weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.learner.parameters()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_ends_with_the_same_bits(name: str, kind: str) -> None:
    tasks, memory = make_tasks(), partial(KINDS[kind], dtype="float16")
    whole = Run(name, memory)
    whole.go(tasks[:2])
    resumed = Run(name, memory).copied_from(whole)
    assert resumed.method.memory_bytes() == whole.method.memory_bytes()
    for run in (whole, resumed):
        run.go(tasks, finished=2)
    assert torch.equal(whole.weights(), resumed.weights())
    assert torch.isfinite(whole.weights()).all()
    stored = [run.method.memory.all() for run in (whole, resumed)]
    assert all(map(torch.equal, *stored))
    assert type(whole.method.memory) is getattr(kinds, kind)


@pytest.mark.parametrize("name", METHODS)
def test_each_kind_makes_a_difference_of_its_own(name: str) -> None:
    weights = {}
    for kind, memory in KINDS.items():
        run = Run(name, memory)
        run.go(make_tasks())
        weights[kind] = run.weights()
    # Of one simulation, a memory shared by simulations is a reservoir.
    assert torch.equal(weights.pop("SimulationMemory"), weights["ReservoirMemory"])
    assert len(torch.stack([*weights.values()]).unique(dim=0)) == len(weights)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_a_budget_in_bytes_holds(name: str, kind: str) -> None:
    run = Run(name, partial(KINDS[kind], capacity_bytes=600), memory_size=None)
    run.go(make_tasks())
    (*_, last) = sorted(run.method.memory.counts())
    assert last == 2
    held = run.method.memory_bytes()
    if name == "GenerativeReplay":  # and the weights of its teacher
        held -= sum(4 * p.numel() for p in run.learner.parameters())
    assert 0 < held <= 600


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_every_kind_is_filled_in_transit_too(name: str, kind: str) -> None:
    run = Run(name, KINDS[kind])
    options = {"now_samples": 8, "task_samples": 12, "batches_per_arrival": 2, "batch_size": 5}
    trainer = InTransitTrainer(
        run.learner, run.method, run.optimizer, generator=run.order, **options
    )
    for task in make_tasks():
        for first in range(0, 20, 4):
            samples = tuple(column[first : first + 4] for column in task.train)
            if first == 0:
                trainer.begin_task(task.index, task.name, samples)
            trainer.learn(samples)
        trainer.end_task(task.test)
    assert 2 in run.method.memory.counts()
    assert torch.isfinite(run.weights()).all()


# The A-GEM family compares with the past alone, though some kinds hold the present, too.


def compared(method: Any, trials: int = 200) -> list[set[int]]:
    """Return the tasks of each batch that was drawn to compare with."""
    drawn = [batch for _ in range(trials) for batch in method.reference_data()]
    return [set((number // 100).tolist()) for _, number in drawn]


@pytest.mark.parametrize("kind", [ReservoirMemory, RingMemory])
def test_references_are_of_past_tasks_only(kind: type[Memory]) -> None:
    tasks, model = make_tasks(), learner()
    for cls, expected in ((AGEM, {0, 1}), (SGEM, None), (GEM, None)):
        method = cls(60, reference_size=8, memory=kind, generator=seeded(0))
        for task in tasks:
            method.begin_task(model, task)
            method.observe(model, task.train)
            if task.index < 2:
                method.end_task(model, task)
        assert method.memory.counts() == {0: 20, 1: 20, 2: 20}
        found = compared(method)
        assert set().union(*found) == {0, 1}
        if expected is None:  # one task a batch; GEM has a batch for each
            assert {len(one) for one in found} == {1}
            assert len(found) == 200 * (2 if cls is GEM else 1)
            assert abs(found.count({0}) - len(found) / 2) < 30  # 4 standard deviations of 7.1


@pytest.mark.parametrize("cls", [AGEM, SGEM, GEM])
def test_where_the_past_was_overwritten_the_gradient_stays(cls) -> None:
    tasks, model = make_tasks(), learner()
    method = cls(10, reference_size=4, memory=RingMemory, generator=seeded(0))
    method.begin_task(model, tasks[0])
    method.observe(model, tasks[0].train)
    model.loss(tasks[0].train).backward()
    before = [p.grad.clone() for p in model.parameters()]

    def unchanged() -> bool:
        method.correct_gradients(model)
        return all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))

    assert unchanged()  # the first task
    method.end_task(model, tasks[0])
    method.begin_task(model, tasks[1])
    for p in model.parameters():
        p.grad.neg_()  # against the past
    before = [p.grad.clone() for p in model.parameters()]
    assert not unchanged()
    method.observe(model, tasks[1].train)
    assert method.memory.counts() == {1: 10}
    before = [p.grad.clone() for p in model.parameters()]
    assert unchanged()


# Dark experience replay keeps the output of the end of the task, however samples came in.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["DER", "DERPlusPlus"])
def test_outputs_are_those_of_the_model_that_learned_the_task(name: str, kind: str) -> None:
    run, learned = Run(name, KINDS[kind]), []
    for k in range(3):
        run.go(make_tasks()[: k + 1], finished=k)
        learned.append(copy.deepcopy(run.learner))
    (x, number, outputs), tasks = run.method.memory.all(), run.method.memory.tasks()
    assert 2 in tasks
    assert torch.equal(number // 100, tasks)
    for task, model in enumerate(learned):
        rows = tasks == task
        with torch.no_grad():
            torch.testing.assert_close(outputs[rows], model.output((x[rows],)))
