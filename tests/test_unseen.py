"""A learner observes every sample once, before the first step on it, whoever trains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from insituml.checkpoint import resume, save_checkpoint
from insituml.data.task import Batch, Task
from insituml.in_transit import InTransitTrainer
from insituml.methods import Combined, Cumulative, Joint, Method, Naive
from insituml.models import MLP
from insituml.training import EpochRecord, TaskRecord, train

SAMPLES = 7


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Counting(MLP):
    """Counts how often it observed each sample, by the number that stands in it."""

    def __init__(self) -> None:
        super().__init__(2, (3,), 1)
        self.register_buffer("counts", torch.zeros(100))
        self.before_step: list[bool] = []

    def observe(self, batch: Batch) -> None:
        assert not torch.is_grad_enabled()
        numbers = batch[0][:, 0].long()
        self.counts: Tensor
        self.counts += torch.bincount(numbers, minlength=100)

    def loss(self, batch: Batch) -> Tensor:
        known = self.counts[batch[0][:, 0].long()]
        self.before_step.append(bool((known == 1).all()))
        return super().loss(batch)


class Gradientless(Naive):
    learns_by_gradient = False


def tasks_of(count: int) -> list[Task]:
    numbers = torch.arange(count * SAMPLES, dtype=torch.float32).reshape(count, SAMPLES, 1)
    return [Task(k, f"task {k}", (x.expand(-1, 2),), ()) for k, x in enumerate(numbers)]


def optimizer_of(learner: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(learner.parameters(), lr=1e-6, momentum=0.9)


@pytest.mark.parametrize("epochs", [1, 2, 5])
@pytest.mark.parametrize("stop", [None, 0, 1])
@pytest.mark.parametrize("method", [Naive, Joint, Cumulative, Gradientless])
def test_once_whatever_the_schedule_and_the_interruption(
    method: type[Method], stop: int | None, epochs: int, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"epochs": epochs, "batch_size": 3}
    file = tmp_path / "stopped.pt"

    def parts() -> dict[str, Any]:
        learner = Counting()
        return {
            "learner": learner,
            "method": method(generator=seeded(0)),
            "optimizer": optimizer_of(learner),
            "generator": seeded(1),
        }

    def go(own: dict[str, Any], **more: Any) -> Any:
        made, order = [own[k] for k in ("learner", "method", "optimizer")], own["generator"]
        return train(made[0], made[1], tasks_of(3), made[2], generator=order, **options, **more)

    run = parts()
    done = 0
    if stop is not None:
        for record in go(run):  # killed after this task: what is left is its checkpoint
            if record.task == stop:
                break
        learner = run.pop("learner")
        save_checkpoint(file, learner, **run, metadata={})
        run, done = parts(), stop + 1
        resume(file, run["learner"], **{k: run[k] for k in ("method", "optimizer", "generator")})
    list(go(run, finished_tasks=done))
    assert run["learner"].counts[: 3 * SAMPLES].tolist() == [1.0] * (3 * SAMPLES)
    assert run["learner"].counts.sum() == 3 * SAMPLES
    assert all(run["learner"].before_step)


def trainer_of(learner: MLP, method: Method, **options: Any) -> InTransitTrainer:
    return InTransitTrainer(
        learner,
        method,
        optimizer_of(learner),
        now_samples=6,
        task_samples=5,
        batches_per_arrival=2,
        batch_size=4,
        generator=seeded(2),
        **options,
    )


@pytest.mark.parametrize("method", [Naive, Gradientless])
def test_once_in_transit_and_before_batches_are_drawn(method: type[Method]) -> None:
    learner = Counting()
    trainer = trainer_of(learner, method(generator=seeded(0)))
    for task in tasks_of(2):
        trainer.begin_task(task.index, task.name, task.train)
        for part in task.train[0].split(3):
            trainer.learn((part,))
            trainer.train_again(2)
        trainer.end_task()
    assert learner.counts[: 2 * SAMPLES].tolist() == [1.0] * (2 * SAMPLES)
    assert learner.before_step
    assert all(learner.before_step)


def test_without_gradients_no_step_is_taken_and_losses_are_those_of_the_batches() -> None:
    learner, records = Counting(), []
    before = [p.detach().clone() for p in learner.parameters()]
    optimizer = optimizer_of(learner)
    method, (task,) = Gradientless(generator=seeded(0)), tasks_of(1)
    options: dict[str, Any] = {"epochs": 4, "batch_size": 7, "generator": seeded(1)}
    list(train(learner, method, [task], optimizer, report=records.append, **options))
    assert all(map(torch.equal, before, learner.parameters()))
    assert not optimizer.state
    epoch, whole = records
    assert isinstance(epoch, EpochRecord)
    assert isinstance(whole, TaskRecord)
    assert (epoch.epoch, epoch.epochs, whole.steps) == (0, 1, 1)
    expected = float(learner.loss(task.train).detach())
    assert epoch.losses == pytest.approx([expected])
    assert whole.loss == pytest.approx(expected)


def test_without_gradients_in_transit_there_is_one_loss_an_arrival() -> None:
    learner, records = Counting(), []
    trainer = trainer_of(learner, Gradientless(generator=seeded(0)), report=records.append)
    before = [p.detach().clone() for p in learner.parameters()]
    (task,) = tasks_of(1)
    trainer.begin_task(0, "task 0", task.train)
    parts = task.train[0].split(3)
    for part in parts:
        trainer.learn((part,))
    assert trainer.end_task().steps == 3
    assert all(map(torch.equal, before, learner.parameters()))
    losses = [float(learner.loss((part,)).detach()) for part in parts]
    assert [r.losses[0] for r in records[:-1]] == pytest.approx(losses)


def test_a_method_without_gradients_is_not_combined() -> None:
    with pytest.raises(ValueError, match="Gradientless takes no gradients: it cannot be combined"):
        Combined([Naive, Gradientless], generator=seeded(0))
