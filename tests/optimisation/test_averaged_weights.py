"""Averages against a sum written out; what checkpoints hold; that training does not notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from insituml import load_checkpoint
from insituml.checkpoint import resume, save_checkpoint
from insituml.data.task import Task
from insituml.in_transit import InTransitTrainer
from insituml.methods import Naive, WeightAveraging
from insituml.models import MLP
from insituml.optimisation import AveragedWeights
from insituml.training import train

DECAY = 0.8


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tasks() -> list[Task]:
    draw = seeded(3)
    return [Task(k, f"task {k}", (torch.randn(8, 4, generator=draw) + k,), ()) for k in range(3)]


class Setup:
    """A learner and all that trains it; keeps the weights after each step."""

    def __init__(self, averaged: bool = True, method: Any = Naive) -> None:
        self.learner = MLP(4, (5,), 2, "tanh", generator=seeded(1))
        self.method = method(generator=seeded(0))
        self.optimizer = torch.optim.Adam(self.learner.parameters(), lr=0.02)
        self.order = seeded(2)
        self.average = AveragedWeights(DECAY) if averaged else None

    @property
    def parts(self) -> dict[str, Any]:
        named = {"method": self.method, "optimizer": self.optimizer, "average": self.average}
        return {**named, "generator": self.order}

    def train(self, done: int = 0) -> Any:
        options = {"epochs": 2, "batch_size": 4, "generator": self.order, "average": self.average}
        more = {"finished_tasks": done, "finished_steps": 4 * done}
        return train(self.learner, self.method, tasks(), self.optimizer, **options, **more)

    def save(self, path: Path) -> Path:
        return save_checkpoint(path, self.learner, **self.parts, metadata={})


def copied(learner: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


def equal(some: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return some.keys() == other.keys() and all(torch.equal(some[n], other[n]) for n in some)


def test_weights_count_by_how_many_steps_ago_they_were_and_those_before_the_first_for_nothing() -> (
    None
):
    learner, average, history = nn.Linear(3, 2).double(), AveragedWeights(DECAY), []
    for step in range(12):
        with torch.no_grad():
            learner.weight.normal_(mean=step, generator=seeded(step))
        average.update(learner)
        history.append(learner.weight.detach().clone())
        shares = torch.tensor([DECAY ** (step - k) for k in range(step + 1)], dtype=torch.float64)
        expected = torch.einsum("k,kij->ij", shares / shares.sum(), torch.stack(history))
        torch.testing.assert_close(average.of(learner.state_dict())["weight"], expected)


def test_shared_frozen_new_and_half_precision_weights() -> None:
    one, other = nn.Linear(2, 2).half(), nn.Linear(2, 2).half()
    other.weight = one.weight
    model = nn.ModuleDict({"one": one, "other": other})
    one.bias.requires_grad_(False)
    average = AveragedWeights(0.999)
    for step in range(1, 2001):
        with torch.no_grad():
            one.weight.fill_(step / 1000)
            one.bias.fill_(step)
        average.update(model)
    found = average.of(model.state_dict())
    shares = 0.999 ** torch.arange(1999, -1, -1, dtype=torch.float64)
    expected = float((shares * torch.arange(1, 2001) / 1000).sum() / shares.sum())
    assert found["one.weight"].dtype == torch.float16
    assert torch.equal(found["one.weight"], found["other.weight"])
    # Steps of half precision's own rounding would be lost in it.
    assert found["one.weight"][0, 0].item() == pytest.approx(expected, rel=1e-3)
    assert found["one.bias"][0].item() == 2000  # not trained, so not averaged
    one.bias.requires_grad_(True)
    average.update(model)
    with torch.no_grad():
        one.bias.fill_(1000)
    average.update(model)
    expected = (2000 * 0.999 + 1000) / 1.999
    assert average.of(model.state_dict())["one.bias"][0].item() == pytest.approx(expected, rel=1e-3)


def test_a_checkpoint_holds_the_average_and_goes_on_from_the_weights(tmp_path: Path) -> None:
    whole, plain = Setup(), Setup(averaged=False)
    files = [whole.save(tmp_path / f"{k}.pt") for k, _ in enumerate(whole.train())]
    list(plain.train())
    assert equal(copied(whole.learner), copied(plain.learner))  # training does not notice
    means = whole.average.of(copied(whole.learner)) if whole.average else {}
    assert equal(copied(load_checkpoint(files[-1])), means)
    assert not equal(means, copied(whole.learner))
    resumed = Setup()
    resume(files[0], resumed.learner, **resumed.parts)
    list(resumed.train(done=1))
    assert resumed.save(tmp_path / "resumed.pt").read_bytes() == files[-1].read_bytes()


def test_an_untrained_model_is_its_own_average(tmp_path: Path) -> None:
    setup = Setup()
    loaded = load_checkpoint(setup.save(tmp_path / "initial.pt"))
    assert equal(copied(loaded), copied(setup.learner))


def test_what_a_method_makes_of_the_weights_at_the_end_of_a_task_is_evaluated() -> None:
    setup = Setup(method=lambda generator: WeightAveraging(0.9, adopt=True, generator=generator))
    next(setup.train())
    assert setup.average is not None
    assert equal(setup.average.of(copied(setup.learner)), copied(setup.learner))


def test_in_transit_the_same(tmp_path: Path) -> None:
    setup = Setup()
    expected = AveragedWeights(DECAY)

    class Watching(Naive):
        def after_step(self, learner: Any) -> None:
            expected.update(learner)

    setup.method = Watching(generator=seeded(0))
    trainer = InTransitTrainer(
        setup.learner,
        setup.method,
        setup.optimizer,
        now_samples=8,
        task_samples=4,
        batches_per_arrival=3,
        batch_size=4,
        generator=setup.order,
        average=setup.average,
    )
    for task in tasks():
        trainer.begin_task(task.index, task.name, task.train)
        trainer.learn(task.train)
        trainer.train_again(2)
        trainer.end_task()
    assert setup.average is not None
    means = setup.average.of(copied(setup.learner))
    assert equal(means, expected.of(copied(setup.learner)))
    assert not equal(means, copied(setup.learner))


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_wrong_decay_is_named(decay: float) -> None:
    with pytest.raises(ValueError, match="expected above 0 and below 1"):
        AveragedWeights(decay)
