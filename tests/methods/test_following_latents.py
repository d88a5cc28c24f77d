"""Stored latents go along where what a learner observes moves its latents."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Task
from insituml.in_transit import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.memory import ReservoirMemory
from insituml.methods import AGEM, Combined, ExperienceReplay, Method, SketchedReplay, remembering
from insituml.models import MLP, HybridAutoEncoder
from insituml.training import train


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Rescaled(ContinualLearner):
    """Its latents are the inputs, in a unit that is twice as large after each batch it observes."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))  # not trained: the rate is 0
        self.register_buffer("unit", torch.ones(()))

    def observe(self, batch: tuple[Tensor, ...]) -> None:
        self.unit *= 2

    def encode(self, x: Tensor) -> Tensor:
        return x / self.unit + self.shift

    def decode(self, latent: Tensor) -> Tensor:
        return (latent - self.shift) * self.unit


METHODS = {
    "replay": partial(ExperienceReplay, 50, 3, store="latent"),
    "agem": partial(AGEM, 60, 3, store="latent"),
    "sketched": partial(SketchedReplay, 50, 3, 2),
    "combined": partial(Combined, [partial(SketchedReplay, 50, 3, 2)]),
    "half precision": partial(
        SketchedReplay, 50, 3, 2, memory=partial(ReservoirMemory, dtype="float16")
    ),
}


def make_tasks() -> list[Task]:
    x = torch.arange(96.0).view(24, 4) / 16
    return [Task(k, str(k), (x[8 * k : 8 * k + 8],), (x[:2],)) for k in range(3)]


def stored(method: Method) -> Tensor:
    while isinstance(method, Combined):
        (method,) = method.methods
    assert isinstance(method, remembering.Remembering)
    return method.memory.all()[0]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("in_transit", [False, True])
def test_what_latents_stand_for_stays(name: str, in_transit: bool) -> None:
    learner, tasks = Rescaled(), make_tasks()
    method = METHODS[name](generator=seeded(0))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)
    if in_transit:
        options = {"now_samples": 4, "task_samples": 8, "batches_per_arrival": 1, "batch_size": 4}
        trainer = InTransitTrainer(learner, method, optimizer, generator=seeded(1), **options)
        for task in tasks:
            trainer.begin_task(task.index, task.name, task.train)
            for part in task.train[0].split(4):
                trainer.learn((part,))
            trainer.end_task()
    else:
        options = {"epochs": 1, "batch_size": 4, "generator": seeded(1)}
        list(train(learner, method, tasks, optimizer, **options))
    assert learner.unit == 2.0**6
    decoded = learner.decode(stored(method)).detach()
    expected = torch.cat([task.train[0] for task in tasks])
    order = decoded[:, 0].argsort()
    torch.testing.assert_close(decoded[order], expected)


def test_a_turning_basis_takes_latents_of_past_tasks_along() -> None:
    generator = seeded(3)
    basis = torch.linalg.qr(torch.randn(20, 6, generator=generator))[0].T
    tasks = []
    for k, rows in enumerate([slice(0, 2), slice(2, 6)]):
        x = (
            (5.0 + 20 * k)
            * torch.randn(30, basis[rows].shape[0], generator=generator)
            @ basis[rows]
        )
        tasks.append(Task(k, str(k), (x[:, None],), (x[:2, None],)))
    learner = HybridAutoEncoder((1, 20), (3,), 6, weighted=False)
    method = SketchedReplay(100, 3, 4, generator=seeded(0))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)
    before = {}
    for record in train(
        learner, method, tasks, optimizer, epochs=1, batch_size=10, generator=seeded(1)
    ):
        z, _, maps = method.memory.all()
        first = method.memory.tasks() == 0
        x = tasks[0].train[0][maps[first].long()]
        with torch.no_grad():
            error = (learner.eval().decode(z[first]) - x).square().mean() / x.square().mean()
        assert error < 1e-4
        before[record.task] = z[first]
    assert not torch.allclose(before[0], before[1], atol=0.1)  # they had to move


def test_a_stream_interrupted_inside_a_task_goes_on_bit_for_bit() -> None:
    x = torch.randn(48, 1, 12, generator=seeded(3)) * torch.arange(1.0, 13.0)

    def make() -> InTransitTrainer:
        learner = HybridAutoEncoder((1, 12), (3,), 4)
        method = SketchedReplay(50, 3, 4, generator=seeded(0))
        optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
        options = {"now_samples": 8, "task_samples": 8, "batches_per_arrival": 2, "batch_size": 4}
        return InTransitTrainer(learner, method, optimizer, generator=seeded(1), **options)

    def push(trainer: InTransitTrainer, parts: range) -> None:
        for part in parts:
            samples = (x[4 * part : 4 * part + 4],)
            if part % 4 == 0:
                trainer.begin_task(part // 4, "", samples)
            trainer.learn(samples)
            if part % 4 == 3:
                trainer.end_task()

    whole, first, second = make(), make(), make()
    push(whole, range(12))
    push(first, range(6))
    second.learner.load_state_dict(copy.deepcopy(first.learner.state_dict()))
    second.method.load_state_dict(copy.deepcopy(first.method.state_dict()), second.learner)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.generator.set_state(first.generator.get_state())
    push(second, range(6, 12))
    for a, b in zip(
        whole.learner.state_dict().values(), second.learner.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    assert torch.equal(stored(whole.method), stored(second.method))


def test_who_observes_nothing_is_not_copied(monkeypatch) -> None:
    made: list[ContinualLearner] = []
    copied = remembering.copied

    def noted(learner: ContinualLearner) -> ContinualLearner:
        made.append(learner)
        return copied(learner)

    monkeypatch.setattr(remembering, "copied", noted)
    learner, tasks = MLP(4, (5,), 2), make_tasks()
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    method = SketchedReplay(50, 3, 2, generator=seeded(0))
    list(train(learner, method, tasks, optimizer, epochs=1, batch_size=4, generator=seeded(1)))
    # Samples themselves stand for themselves.
    method = ExperienceReplay(50, 3, generator=seeded(0))
    learner = Rescaled()
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)
    list(train(learner, method, tasks, optimizer, epochs=1, batch_size=4, generator=seeded(1)))
    assert made == []
