"""FLOPs of training: closed forms, torch's own counter, and no change of any bit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from insituml.data.task import Task
from insituml.in_transit.trainer import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.models import AutoEncoder3D
from insituml.optimisation import Stepper
from insituml.optimisation.flops import counted_flops
from insituml.optimisation.work import Work
from insituml.training import TaskRecord, train
from tests.method_examples import CLASSES, NAMES, make
from tests.methods.test_methods import Regressor, learner_for, make_tasks, same_bits, seeded


class Linear(ContinualLearner):
    """One product of matrices a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3, bias=False)

    def loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return self.layer(batch[0]).square().mean()


def learn(name: str, learner: ContinualLearner, **options: Any) -> list[TaskRecord]:
    method = make(name, seeded(1))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    options = {"epochs": 3, "batch_size": 6, "generator": seeded(2), **options}
    return list(train(learner, method, make_tasks(), optimizer, **options))


def test_a_linear_layer_in_closed_form() -> None:
    """20 samples a task, 3 epochs: a product forward, one for the weights' gradient."""
    records = learn("Naive", Linear())
    assert [record.flops for record in records] == [3 * 20 * 2 * (2 * 4 * 3)] * 3


def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Work, "count", lambda self, act: act())


@pytest.mark.parametrize("name", [n for n in NAMES if CLASSES[n].learns_by_gradient])
def test_the_count_is_all_that_was_done_and_changes_no_bit(name: str, monkeypatch) -> None:
    """Steps counted once a task and multiplied are what a counter around everything finds."""
    learner = learner_for(name)
    plain = copy.deepcopy(learner)
    with counted_flops() as flops:
        records = learn(name, learner)
    assert sum(record.flops for record in records) == flops()
    assert flops() > 0
    uncounted(monkeypatch)
    learn(name, plain)
    assert same_bits(learner, plain)


@pytest.mark.parametrize("name", ["Naive", "AGEM", "DERPlusPlus", "LwF", "MIR"])
def test_a_step_counts_as_torch_counts_it(name: str) -> None:
    learner, tasks = Regressor(), make_tasks()
    method = make(name, seeded(1))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    list(train(learner, method, tasks[:1], optimizer, epochs=1, batch_size=5, generator=seeded(2)))
    method.begin_task(learner, tasks[1])
    stepper = Stepper(learner, method, optimizer, generator=seeded(6))
    stepper.rate.begin(1)
    with FlopCounterMode(display=False) as theirs:
        stepper.take(tuple(column[:5] for column in tasks[1].train))
    assert stepper.work.flops == theirs.get_total_flops() > 0


def test_convolutions_count_as_torch_counts_them() -> None:
    model = AutoEncoder3D((3, 8, 8, 8), channels=[4, 8], latent_size=5, generator=seeded(0))
    x = torch.randn(2, 3, 8, 8, 8, generator=seeded(1))
    with FlopCounterMode(display=False) as theirs:
        model.loss((x,)).backward()
    with counted_flops() as ours:
        model.loss((x,)).backward()
    assert ours() == theirs.get_total_flops() > 0


@pytest.mark.parametrize(
    "act, flops",
    [
        (lambda a: torch.linalg.svd(a, full_matrices=False), 6 * 9 * 4**2 + 20 * 4**3),
        (lambda a: torch.linalg.svd(a.T, full_matrices=False), 6 * 9 * 4**2 + 20 * 4**3),
        (lambda a: torch.linalg.eigh(a.T @ a), 2 * 4 * 9 * 4 + 9 * 4**3),
        (lambda a: torch.linalg.qr(a), 4 * 9 * 4**2 - 4 * 4**3 // 3),
        (lambda a: torch.linalg.cholesky(a.T @ a), 2 * 4 * 9 * 4 + 4**3 // 3),
    ],
)
def test_factorisations_count_by_the_textbook(act: Any, flops: int) -> None:
    with counted_flops() as counted:
        act(torch.randn(9, 4, generator=seeded(3)))
    assert counted() == flops


def test_in_transit_an_interrupted_task_counts_on() -> None:
    def trainer(learner: ContinualLearner, method: Any) -> InTransitTrainer:
        return InTransitTrainer(
            learner,
            method,
            torch.optim.SGD(learner.parameters(), lr=0.01),
            now_samples=8,
            task_samples=8,
            batches_per_arrival=3,
            batch_size=4,
            generator=seeded(4),
        )

    x, y = make_tasks()[0].train
    learner, method = Regressor(), make("EWC", seeded(1))
    first = trainer(learner, method)
    first.begin_task(0, "a", (x[:4], y[:4]))
    first.learn((x[:4], y[:4]))
    with counted_flops() as flops:
        going_on = trainer(learner, method)
        going_on.load_state_dict(first.state_dict())
        going_on.learn((x[4:8], y[4:8]))
        record = going_on.end_task()
    assert record.flops == flops() + first.state_dict()["stepper"]["work"]["flops"]


def test_a_resumed_run_counts_its_own_tasks() -> None:
    tasks: list[Task] = make_tasks()
    learner, method = Regressor(), make("ExperienceReplay", seeded(1))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 6, "generator": seeded(2)}
    stream = train(learner, method, tasks, optimizer, **options)
    whole = [next(stream).flops, next(stream).flops]
    resumed = train(learner, method, tasks, optimizer, finished_tasks=2, **options)
    assert next(resumed).flops == whole[1]
