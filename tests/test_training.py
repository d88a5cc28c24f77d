"""The loop: resuming, hooks, records, and that the same seed gives the same bits."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml.checkpoint import load_checkpoint, resume, save_checkpoint
from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.methods import EWC, ExperienceReplay, Joint, Method, Naive
from insituml.methods.base import NextEpoch
from insituml.methods.combined import Combined
from insituml.models import MLP, AutoEncoder2D
from insituml.training import DivergedError, EpochRecord, TaskRecord, train
from tests.method_examples import TRAINED, make


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 3, samples: int = 18, shape: tuple[int, ...] = (4,)) -> list[Task]:
    generator, tasks = seeded(10), []
    for k in range(count):
        x = torch.randn(samples, *shape, generator=generator) * 0.5 + k
        y = torch.arange(samples) + 100 * k
        tasks.append(Task(k, f"task {k}", (x, y), (x[:4], y[:4]), validation=(x[4:6], y[4:6])))
    return tasks


class Noisy(ContinualLearner):
    """Dropout and batch normalisation: randomness and buffers outside the parameters."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.inner = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3))
            self.outer = nn.Linear(6, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def decode(self, latent: Tensor) -> Tensor:
        return self.outer(latent)

    def sample(self, conditions: tuple[Tensor, ...], *, generator: torch.Generator) -> Tensor:
        latent = torch.randn(len(conditions[0]), 6, generator=generator)
        return self.decode(latent) + conditions[0].unsqueeze(1) / 100


class SamplingMLP(MLP):
    """Draws its latents from a normal distribution."""

    def sample(self, conditions: tuple[Tensor, ...], *, generator: torch.Generator) -> Tensor:
        return self.decode(torch.randn(len(conditions[0]), 2, generator=generator))


# Beside tests/method_examples.py: options that have state of their own.
CHANGES: dict[str, dict] = {
    "AGEMLayerwise": {"store": "latent", "latent_weight": 0.3},
    "GPM": {"threshold": 0.9},
    "SGEM": {"total_tasks": 2},
    "WeightAveraging": {"adopt": True},
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
}


class Run:
    """A learner, method, optimizer and generator that belong together."""

    def __init__(self, name: str, learner, *, seed: int = 5, optimizer: str = "sgd") -> None:
        self.learner = learner
        self.method = make(name, seeded(seed + 1), **CHANGES.get(name, {}))
        self.optimizer = OPTIMIZERS[optimizer](learner.parameters())
        self.generator = seeded(seed)
        self.losses: list[float] = []

    def report(self, record) -> None:
        if isinstance(record, EpochRecord):
            self.losses += record.losses

    def go(self, tasks, **options):
        return train(
            self.learner,
            self.method,
            tasks,
            self.optimizer,
            **{"epochs": 2, "batch_size": 4, **options},
            generator=self.generator,
            report=self.report,
        )

    def state(self) -> dict:
        return {
            "weights": dict(self.learner.state_dict()),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def save(self, path, metadata) -> None:
        save_checkpoint(
            path,
            self.learner,
            method=self.method,
            optimizer=self.optimizer,
            generator=self.generator,
            metadata=metadata,
        )

    def resume(self, path) -> dict:
        return resume(
            path,
            self.learner,
            method=self.method,
            optimizer=self.optimizer,
            generator=self.generator,
        )


def same(left, right) -> bool:
    """Equal to the last bit, through dictionaries and lists."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    return left == right


@pytest.mark.parametrize("learner", [lambda: SamplingMLP(4, (5,), 2), Noisy], ids=["mlp", "noisy"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", TRAINED)
def test_resuming_anywhere_equals_never_having_stopped(
    name: str, optimizer: str, learner, tmp_path
) -> None:
    tasks = make_tasks()
    whole, steps = Run(name, learner(), optimizer=optimizer), 0
    for k, record in enumerate(whole.go(tasks)):
        steps += record.steps
        whole.save(tmp_path / f"{k}.pt", {"task": k, "steps": steps})
    for k in range(3):
        torch.rand(k + 1)  # whatever else the process drew from the global generator
        # Everything differs until it is restored.
        other = learner()
        with torch.no_grad():
            for p in other.parameters():
                p.add_(1.0)
        resumed = Run(name, other, seed=40 + k, optimizer=optimizer)
        metadata = resumed.resume(tmp_path / f"{k}.pt")
        assert metadata["task"] == k
        records = list(resumed.go(tasks, finished_tasks=k + 1, finished_steps=metadata["steps"]))
        assert [record.task for record in records] == list(range(k + 1, 3))
        assert same(resumed.state(), whole.state())
        assert resumed.losses == whole.losses[metadata["steps"] :]


@pytest.mark.parametrize("name", TRAINED)
def test_same_seed_same_bits_and_another_seed_others(name: str) -> None:
    runs = [Run(name, Noisy(), seed=seed) for seed in (5, 5, 6)]
    for number, run in enumerate(runs):
        torch.rand(number + 1)
        list(run.go(make_tasks()))
    assert same(runs[0].state(), runs[1].state())
    assert not same(runs[0].state()["weights"], runs[2].state()["weights"])


def test_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    list(Run("EWC", Noisy()).go(make_tasks()))
    assert torch.equal(torch.get_rng_state(), state)


class Recording(Method):
    """Notes every call of a hook."""

    def __init__(self) -> None:
        super().__init__(generator=seeded(0))
        self.calls: list[str] = []
        self.seen: list[int] = []

    def begin_task(self, learner, task):
        assert learner.training
        self.calls.append(f"begin {task.index}")

    def loss(self, learner, batch):
        assert all(p.grad is None for p in learner.parameters())
        self.calls.append("loss")
        return super().loss(learner, batch)

    def correct_gradients(self, learner):
        assert all(p.grad is not None for p in learner.parameters())
        self.calls.append("correct")

    def after_step(self, learner):
        self.calls.append("after")

    def observe(self, learner, batch):
        self.calls.append("observe")
        self.seen += batch[1].tolist()

    def end_task(self, learner, task):
        self.calls.append(f"end {task.index}")


def sgd(learner, lr: float = 0.02) -> torch.optim.Optimizer:
    return torch.optim.SGD(learner.parameters(), lr=lr)


def run_with(method, tasks, learner=None, *, lr: float = 0.02, **options):
    learner = learner if learner is not None else MLP(4, (5,), 2)
    options = {"epochs": 2, "batch_size": 5, "generator": seeded(5), **options}
    return list(train(learner, method, tasks, sgd(learner, lr), **options))


def test_hooks_are_called_in_order_and_observe_sees_each_sample_once() -> None:
    method, tasks = Recording(), make_tasks(2, samples=10)
    run_with(method, tasks, epochs=3)
    first, later = ["loss", "correct", "after", "observe"] * 2, ["loss", "correct", "after"] * 4
    expected = [call for k in (0, 1) for call in (f"begin {k}", *first, *later, f"end {k}")]
    assert method.calls == expected
    assert sorted(method.seen) == [*range(10), *range(100, 110)]


def test_every_epoch_shows_every_sample_once_in_an_order_of_its_own() -> None:
    shown = []

    class Spy(Recording):
        def loss(self, learner, batch):
            shown.append(batch[1].tolist())
            return super().loss(learner, batch)

    run_with(Spy(), make_tasks(1), epochs=2)
    assert [len(part) for part in shown] == [5, 5, 5, 3] * 2
    epochs = [list(chain(*shown[:4])), list(chain(*shown[4:]))]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(18))
    assert epochs[0] != epochs[1] != list(range(18))


def test_gradients_are_clipped_after_the_correction() -> None:
    class Huge(Naive):
        def correct_gradients(self, learner):
            for p in learner.parameters():
                p.grad.fill_(1000.0)

    learner = MLP(4, (5,), 2)
    before = [p.detach().clone() for p in learner.parameters()]
    method = Huge(generator=seeded(0))
    run_with(
        method, make_tasks(1), learner, lr=1.0, max_gradient_norm=0.25, epochs=1, batch_size=100
    )
    step = torch.cat(
        [(b - p).reshape(-1) for b, p in zip(before, learner.parameters(), strict=True)]
    )
    assert step.norm().item() == pytest.approx(0.25, rel=1e-4)


def test_observe_comes_after_the_step() -> None:
    learner = MLP(4, (5,), 2)
    weights = [learner.encoder.layers[0].weight.detach().clone()]

    class Look(Naive):
        def observe(self, learner, batch):
            now = learner.encoder.layers[0].weight
            assert not torch.equal(now, weights[0])
            weights[0] = now.detach().clone()

    run_with(Look(generator=seeded(0)), make_tasks(1), learner, epochs=1)


def test_diverging_says_where_and_what_to_try() -> None:
    with pytest.raises(DivergedError) as caught:
        run_with(Naive(generator=seeded(0)), make_tasks(2), lr=1e12, epochs=4)
    text = str(caught.value)
    assert "of task 0 (task 0)" in text
    assert "epoch 2" in text or "epoch 1" in text
    assert "smaller learning rate" in text


def test_an_infinite_loss_is_noticed() -> None:
    class Infinite(Naive):
        def loss(self, learner, batch):
            return super().loss(learner, batch) + math.inf

    with pytest.raises(DivergedError, match="became inf in step 1, epoch 1 of task 0"):
        run_with(Infinite(generator=seeded(0)), make_tasks(1))


def test_records_say_every_loss() -> None:
    records, losses = [], []

    class Spy(Naive):
        def loss(self, learner, batch):
            value = super().loss(learner, batch)
            losses.append(value.item())
            return value

    results = run_with(
        Spy(generator=seeded(0)), make_tasks(2), report=records.append, finished_steps=1000
    )
    epochs = [r for r in records if isinstance(r, EpochRecord)]
    assert [type(r) for r in records] == [EpochRecord, EpochRecord, TaskRecord] * 2
    assert [r for r in records if isinstance(r, TaskRecord)] == results
    assert [*chain(*(r.losses for r in epochs))] == losses
    places = [(r.task, r.epoch, r.epochs) for r in epochs]
    assert places == [(0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2)]
    assert [r.first_step for r in epochs] == [1000, 1004, 1008, 1012]
    for result, last in zip(results, epochs[1::2], strict=True):
        assert (result.name, result.steps) == (f"task {result.task}", 8)
        assert result.loss == pytest.approx(np.mean(last.losses))
        assert result.seconds > 0


def test_the_loop_waits_for_its_consumer_between_tasks() -> None:
    learner, method = MLP(4, (5,), 2), Recording()
    going = train(
        learner, method, make_tasks(2), sgd(learner), epochs=1, batch_size=5, generator=seeded(0)
    )
    assert method.calls == []
    next(going)
    assert method.calls[-1] == "end 0"
    learner.eval()  # a consumer that evaluates; begin_task asserts the mode
    next(going)
    assert method.calls[-1] == "end 1"


def test_memory_mapped_tensors(tmp_path) -> None:
    tasks, mapped = make_tasks(), []
    for task in tasks:
        columns = []
        for number, column in enumerate(task.train):
            path = tmp_path / f"{task.index}_{number}.npy"
            np.save(path, column.numpy())
            columns.append(torch.from_numpy(np.load(path, mmap_mode="c")))
        mapped.append(replace(task, train=tuple(columns)))
    for name in TRAINED:
        here, there = Run(name, Noisy()), Run(name, Noisy())
        list(here.go(tasks))
        list(there.go(mapped))
        assert same(here.state(), there.state()), name


@pytest.mark.parametrize("downsampling", ["strided", "pool"])
@pytest.mark.parametrize("name", [n for n in TRAINED if n != "GenerativeReplay"])  # it samples
def test_every_method_trains_an_autoencoder(name: str, downsampling: str, tmp_path) -> None:
    tasks = make_tasks(2, samples=6, shape=(1, 5, 6))
    learner = AutoEncoder2D((1, 5, 6), (3,), 4, downsampling=downsampling)
    run = Run(name, learner, optimizer="adam")
    list(run.go(tasks))
    run.save(tmp_path / "a.pt", {})
    loaded = load_checkpoint(tmp_path / "a.pt")
    x = tasks[0].test[0]
    assert torch.equal(loaded(x)[1], learner.eval()(x)[1])


def test_replay_and_ewc_forget_less_than_naive() -> None:
    tasks = make_tasks(3, samples=40)
    errors = {}
    for name, method in {
        "naive": Naive(generator=seeded(0)),
        "joint": Joint(generator=seeded(0)),
        "replay": ExperienceReplay(100, generator=seeded(0)),
        "ewc": EWC(10.0, generator=seeded(0)),
    }.items():
        learner = MLP(4, (16,), 1, generator=seeded(1))
        run_with(method, tasks, learner, epochs=10, lr=0.1)
        x = tasks[0].train[0]
        errors[name] = mse_loss(learner(x)[1], x).item()
    assert errors["joint"] < 0.5 * errors["naive"]
    assert errors["replay"] < 0.5 * errors["naive"]
    assert errors["ewc"] < errors["naive"]


def test_randomness_is_a_required_keyword() -> None:
    parameter = inspect.signature(train).parameters["generator"]
    assert parameter.kind is parameter.KEYWORD_ONLY
    assert parameter.default is parameter.empty


@pytest.mark.parametrize("seconds", [0.0, math.inf])
def test_progress_is_told_between_steps_or_after_an_epoch(seconds, monkeypatch) -> None:
    monkeypatch.setattr("insituml.progress.PROGRESS_SECONDS", seconds)
    said: list[object] = []
    run = Run("Naive", MLP(input_shape=[4], hidden_sizes=[6], latent_size=2))
    run.report = said.append
    list(run.go(make_tasks(2), progress=said.append))  # 18 samples in batches of 4
    epoch = [5] if seconds else [1] * 5
    told = [s if isinstance(s, int) else type(s) for s in said]
    assert told == [*(2 * [*epoch, EpochRecord]), TaskRecord] * 2


class Plateaus(Method):
    """Asks for another rate after the epochs that it is told, and ends after the last of them."""

    def __init__(self, *factors: float) -> None:
        super().__init__(generator=seeded(0))
        self.factors = list(factors)

    @property
    def note(self) -> str:
        return "two epochs were enough"

    def end_epoch(self, learner: ContinualLearner, task: Task) -> NextEpoch:
        factor = self.factors.pop(0)
        return NextEpoch(factor, ended=not self.factors)


@pytest.mark.parametrize("combined", [False, True])
def test_a_method_may_lower_the_learning_rate_after_an_epoch_and_end_a_task_early(
    combined: bool,
) -> None:
    (task,) = make_tasks(1, samples=6)
    learner, expected = (MLP((4,), hidden_sizes=(3,), generator=seeded(1)) for _ in range(2))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.5)
    method: Method = Plateaus(0.5, 0.25)
    if combined:
        parts = [
            lambda generator: Naive(generator=generator),
            lambda generator: Plateaus(0.5, 0.25),
        ]
        method = Combined(parts, generator=seeded(0))
    records: list[object] = []
    run = train(
        learner,
        method,
        [task],
        optimizer,
        epochs=9,
        batch_size=6,
        generator=seeded(3),
        report=records.append,
    )
    (result,) = run

    for rate in (0.5, 0.25):  # one batch an epoch: plain gradient descent, written out
        loss = mse_loss(expected.decode(expected.encode(task.train[0])), task.train[0])
        for p, g in zip(
            expected.parameters(), torch.autograd.grad(loss, expected.parameters()), strict=True
        ):
            p.data -= rate * g
    for ours, theirs in zip(learner.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert result.steps == 2
    assert [r.epoch for r in records if isinstance(r, EpochRecord)] == [0, 1]
    assert optimizer.param_groups[0]["lr"] == 0.5 * 0.5 * 0.25
    assert result.note == "two epochs were enough"
