"""Budgets are spent to the sample; accumulated gradients are those of a large batch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from insituml.data.task import Task
from insituml.in_transit import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.methods import (
    AGEM,
    EWC,
    Combined,
    Cumulative,
    ExperienceReplay,
    Joint,
    LwF,
    Method,
    Naive,
)
from insituml.models import MLP
from insituml.optimisation import Amount, Schedule, parts
from insituml.training import EpochRecord, TaskRecord, train

SIZES = (9, 14, 6)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tasks(*sizes: int, dtype: torch.dtype = torch.float32) -> list[Task]:
    draw, made = seeded(3), []
    for k, n in enumerate(sizes):
        x = torch.randn(n, 4, generator=draw, dtype=dtype) + k
        made.append(Task(k, f"task {k}", (x, torch.arange(n) + 100 * k), ()))
    return made


class Spy(Naive):
    """Notes the samples of every step, and how often its hooks are called."""

    def __init__(self) -> None:
        super().__init__(generator=seeded(0))
        self.shown: list[list[int]] = []
        self.calls: Counter[str] = Counter()

    def join(self, learner: ContinualLearner, batch: Any) -> Any:
        self.shown.append(batch[1].tolist())
        return batch

    def correct_gradients(self, learner: ContinualLearner) -> None:
        self.calls["correct"] += 1

    def observe(self, learner: ContinualLearner, batch: Any) -> None:
        self.calls["observed"] += len(batch[0])


def learn(method: Method, stream: list[Task], **options: Any) -> tuple[MLP, list[Any]]:
    learner = MLP(4, (5,), 2, "tanh", generator=seeded(1)).to(stream[0].train[0].dtype)
    heard: list[Any] = []
    options = {"epochs": 2, "batch_size": 4, "generator": seeded(2), **options}
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.05)
    list(train(learner, method, stream, optimizer, report=heard.append, **options))
    return learner, heard


def ended(heard: list[Any]) -> list[TaskRecord]:
    return [record for record in heard if isinstance(record, TaskRecord)]


@pytest.mark.parametrize("join_lone", [False, True])
def test_parts_are_whole_but_for_the_last(join_lone: bool) -> None:
    for count in range(1, 30):
        for size in range(1, 9):
            found = parts(count, size, join_lone=join_lone)
            assert sum(found) == count
            if not join_lone:
                assert found[:-1] == [size] * (len(found) - 1)
                assert found[-1] <= size
            elif count > 1 and size > 1:
                assert min(found) > 1


@pytest.mark.parametrize("budget", [None, 1, 5, 6, 9, 23, 40])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("batch_size", [3, 4, 50])
def test_what_is_planned_is_what_is_done(
    batch_size: int, accumulate: int, budget: int | None
) -> None:
    options = {"batch_size": batch_size, "accumulate": accumulate, "budget": budget}
    amount, spy = Amount(epochs=3, **options), Spy()
    _, heard = learn(spy, tasks(*SIZES), epochs=3, **options)
    for record, size in zip(ended(heard), SIZES, strict=True):
        epochs = [r for r in heard if isinstance(r, EpochRecord) and r.task == record.task]
        assert record.steps == amount.steps(size, 3) == sum(len(r.losses) for r in epochs)
        assert {r.planned for r in epochs} == {record.steps}
        assert {r.epochs for r in epochs} == {len(epochs)} == {amount.passes(size, 3)[0]}
        assert record.samples_seen == (3 * size if budget is None else budget)
        shown = Counter(n for part in spy.shown for n in part if n // 100 == record.task)
        assert sum(shown.values()) == record.samples_seen
        # Nothing is shown once more before all was shown as often.
        assert max(shown.values()) - min(shown[100 * record.task + k] for k in range(size)) <= 1
    assert spy.calls["correct"] == sum(record.steps for record in ended(heard))
    assert spy.calls["observed"] == sum(
        size if budget is None else min(size, budget) for size in SIZES
    )


def test_with_a_budget_every_method_gets_as_much_and_joint_the_sum() -> None:
    for batch_size in (3, 8):
        for method in (Naive, Cumulative, Joint, lambda generator: EWC(1.0, generator=generator)):
            _, heard = learn(
                method(generator=seeded(0)), tasks(*SIZES), budget=20, batch_size=batch_size
            )
            assert [record.samples_seen for record in ended(heard)] == [20, 20, 20]


def test_who_finds_out_what_is_enough_keeps_to_no_budget() -> None:
    class Patient(Naive):
        keeps_to_budget = False

    _, heard = learn(Patient(generator=seeded(0)), tasks(*SIZES), budget=3, epochs=2)
    assert [record.samples_seen for record in ended(heard)] == [2 * size for size in SIZES]
    made = Combined([Naive, Patient], generator=seeded(0))
    assert not made.keeps_to_budget


def test_batch_normalisation_gets_no_lone_sample_at_the_end_of_a_budget() -> None:
    class Normed(MLP):
        def __init__(self) -> None:
            super().__init__(4, (5,), 2, generator=seeded(1))
            self.norm = nn.BatchNorm1d(4)

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return super().encode(self.norm(x))

    learner = Normed()
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    stream, planned = tasks(9), Amount(batch_size=4, budget=19).steps(9, 1, join_lone=True)
    options = {"epochs": 1, "batch_size": 4, "budget": 19, "generator": seeded(2)}
    (record,) = train(learner, Naive(generator=seeded(0)), stream, optimizer, **options)
    assert (record.samples_seen, record.steps) == (18, planned) == (18, 4)


REPLAYED = {
    # A draw each step, from the second task on: two passes of 14 and of 6 samples by 4.
    "ExperienceReplay": (lambda g: ExperienceReplay(8, replay_size=3, generator=g), [0, 24, 12]),
    "AGEM": (lambda g: AGEM(18, 3, reference_size=5, generator=g), [0, 40, 20]),
    "EWC": (lambda g: EWC(1.0, generator=g), [0, 0, 0]),
}


@pytest.mark.parametrize("name", REPLAYED)
def test_replayed_samples_are_counted_beside_those_of_the_stream(name: str) -> None:
    make, expected = REPLAYED[name]
    for combined in (False, True):
        parts_of = [Naive, lambda generator: make(generator)]
        method = Combined(parts_of, generator=seeded(0)) if combined else make(seeded(0))
        _, heard = learn(method, tasks(*SIZES))
        assert [record.samples_seen for record in ended(heard)] == [18, 28, 12]
        assert [record.samples_replayed for record in ended(heard)] == expected


LARGE_BATCH = {
    "Naive": lambda g: Naive(generator=g),
    "EWC": lambda g: EWC(50.0, generator=g),  # a penalty that no sample is in
    "LwF": lambda g: LwF(2.0, generator=g),  # and one on the samples
    "AGEM": lambda g: AGEM(9, 3, generator=g),  # a correction, once a step
}


@pytest.mark.parametrize("name", LARGE_BATCH)
def test_accumulated_gradients_are_those_of_a_large_batch(name: str) -> None:
    """With clipping that takes hold, and last batches of other sizes."""
    options: dict[str, Any] = {"max_gradient_norm": 0.3, "schedule": Schedule("cosine")}
    stream = tasks(*SIZES, dtype=torch.float64)
    (large, said), (small, also) = (
        learn(LARGE_BATCH[name](seeded(0)), stream, **options, **sizes)
        for sizes in ({"batch_size": 6}, {"batch_size": 2, "accumulate": 3})
    )
    for one, other in zip(large.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    for first, second in zip(said, also, strict=True):
        if isinstance(first, EpochRecord):
            assert second.losses == pytest.approx(first.losses, rel=1e-9)
    other = learn(LARGE_BATCH[name](seeded(0)), stream, **options, batch_size=2)[0]
    assert not torch.allclose(next(other.parameters()), next(large.parameters()))


def test_each_part_is_joined_with_samples_of_its_own() -> None:
    _, heard = learn(
        ExperienceReplay(8, replay_size=2, generator=seeded(0)), tasks(6, 6), accumulate=2, epochs=1
    )
    assert [(r.steps, r.samples_replayed) for r in ended(heard)] == [(1, 0), (1, 4)]


def test_in_transit_the_same() -> None:
    found = []
    for sizes in ({"batch_size": 6}, {"batch_size": 2, "accumulate": 3}):
        learner = MLP(4, (5,), 2, "tanh", generator=seeded(1)).double()
        optimizer, records = torch.optim.Adam(learner.parameters(), lr=0.05), []
        trainer = InTransitTrainer(
            learner,
            EWC(50.0, generator=seeded(0)),
            optimizer,
            now_samples=14,
            task_samples=5,
            batches_per_arrival=2 * sizes.get("accumulate", 1),
            generator=seeded(2),
            schedule=Schedule("cosine"),
            **sizes,
        )
        for task in tasks(*SIZES, dtype=torch.float64):
            trainer.begin_task(task.index, task.name, task.train, arrivals=1)
            trainer.learn(task.train)
            records.append(trainer.end_task())
        assert [(record.steps, record.samples_seen) for record in records] == [(2, 12)] * 3
        found.append(learner)
    for one, other in zip(found[0].parameters(), found[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_an_arrivals_last_step_may_have_fewer_batches() -> None:
    learner = MLP(4, (5,), 2, generator=seeded(1))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    sizes = {"now_samples": 9, "task_samples": 5, "batches_per_arrival": 5, "batch_size": 2}
    trainer = InTransitTrainer(
        learner, Spy(), optimizer, **sizes, accumulate=2, generator=seeded(2)
    )
    (task,) = tasks(9)
    trainer.begin_task(0, "", task.train)
    trainer.learn(task.train)
    record = trainer.end_task()
    assert (record.steps, record.samples_seen) == (3, 10)


@pytest.mark.parametrize("key", ["epochs", "batch_size", "budget", "accumulate"])
def test_wrong_numbers_are_named(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is 0; expected a whole number of 1 or more"):
        Amount(**{"batch_size": 1, key: 0})
