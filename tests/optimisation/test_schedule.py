"""Schedules against torch's own and closed forms; that loops follow them, and resume in them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from insituml.data.task import Task
from insituml.in_transit import InTransitTrainer
from insituml.methods import Joint, Naive
from insituml.models import MLP
from insituml.optimisation import LearningRate, Schedule
from insituml.training import TaskRecord, train

RATE = 0.5


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(schedule: Schedule, steps: int, length: int | None = None) -> list[float]:
    return [schedule.factor(step, length) for step in range(steps)]


def test_cosine_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.1)
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert factors(Schedule("cosine", final_rate=0.1), 40, 40) == pytest.approx(expected)


def test_warm_up_is_linear_and_takes_half_of_a_stretch_at_most() -> None:
    assert factors(Schedule("cosine", warmup_steps=4), 4, 40) == [0.25, 0.5, 0.75, 1.0]
    short = factors(Schedule("cosine", warmup_steps=100), 8, 8)
    assert short[:4] == [0.25, 0.5, 0.75, 1.0]
    assert short[4] == 1.0 > short[5] > short[6] > short[7] > 0
    assert factors(Schedule(warmup_steps=2), 4) == [0.5, 1.0, 1.0, 1.0]


def test_decay_is_constant_then_straight_down() -> None:
    found = factors(Schedule("decay", final_rate=0.5, decay_share=0.4), 10, 10)
    assert found == pytest.approx([1.0] * 7 + [0.875, 0.75, 0.625])
    # Nobody looks at steps beyond the end; a stream may take some.
    assert Schedule("decay").factor(11, 10) == Schedule("decay").factor(9, 10)


def test_inverse_square_root_meets_its_warm_up() -> None:
    found = factors(Schedule("inverse_sqrt", warmup_steps=4), 64)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4:] == pytest.approx([math.sqrt(4 / step) for step in range(5, 65)])


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"name": "linear"}, "schedule is 'linear'; expected one of constant, inverse_sqrt, cos"),
        ({"name": "inverse_sqrt"}, "give the number of steps"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"final_rate": 1.5}, "final_rate is 1.5"),
        ({"decay_share": 0.0}, "decay_share is 0.0"),
    ],
)
def test_wrong_values_are_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Schedule(**wrong)


def test_a_constant_rate_leaves_the_optimizer_alone() -> None:
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=RATE)
    before = optimizer.state_dict()
    rate = LearningRate(optimizer)
    rate.begin(10)
    rate.advance()
    assert optimizer.state_dict() == before


def test_groups_keep_their_proportions_and_tensors_their_place() -> None:
    tensor = torch.tensor(0.25)
    one, other = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    groups = [{"params": [one], "lr": tensor}, {"params": [other]}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    rate = LearningRate(optimizer, Schedule(warmup_steps=2))
    rate.advance()
    assert [float(group["lr"]) for group in optimizer.param_groups] == [0.125, 0.5]
    rate.advance()
    assert [float(group["lr"]) for group in optimizer.param_groups] == [0.25, 1.0]
    assert optimizer.param_groups[0]["lr"] is tensor


class Watching(torch.optim.SGD):
    """Notes the rate of each step."""

    def __init__(self, learner: MLP) -> None:
        super().__init__(learner.parameters(), lr=RATE, momentum=0.9)
        self.rates: list[float] = []

    def step(self, closure: Any = None) -> Any:
        self.rates.append(self.param_groups[0]["lr"] / RATE)
        return super().step(closure)


def tasks(sizes: tuple[int, ...]) -> list[Task]:
    draw = seeded(3)
    return [
        Task(k, f"task {k}", (torch.randn(n, 4, generator=draw) / 10,), ())
        for k, n in enumerate(sizes)
    ]


def learner() -> MLP:
    return MLP(4, (5,), 2, "tanh", generator=seeded(1))


def test_each_task_has_a_curve_of_its_own_and_joint_a_single_one() -> None:
    cosine, stream = Schedule("cosine", warmup_steps=2), tasks((8, 12))
    for method, lengths in ((Naive, [6, 9]), (Joint, [15])):
        model = learner()
        optimizer = Watching(model)
        options = {"epochs": 3, "batch_size": 4, "generator": seeded(2), "schedule": cosine}
        list(train(model, method(generator=seeded(0)), stream, optimizer, **options))
        expected = itertools.chain(*(factors(cosine, n, n) for n in lengths))
        assert optimizer.rates == pytest.approx(list(expected)), method.__name__


ENDLESS = Schedule("inverse_sqrt", warmup_steps=3)
ALL = [Schedule("cosine", warmup_steps=2), Schedule("decay"), ENDLESS, Schedule(warmup_steps=9)]


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: s.name)
@pytest.mark.parametrize("method", [Naive, Joint])
def test_a_resumed_run_has_the_same_rates(schedule: Schedule, method: Any) -> None:
    stream, whole = tasks((8, 12, 8)), learner()
    watched = Watching(whole)
    options = {"epochs": 4, "batch_size": 4, "schedule": schedule}
    order = seeded(2)
    going = train(whole, method(generator=seeded(0)), stream, watched, generator=order, **options)
    first: TaskRecord = next(going)
    weights = {key: value.clone() for key, value in whole.state_dict().items()}
    state, drawn = watched.state_dict(), order.get_state()
    state["state"] = {k: {n: t.clone() for n, t in v.items()} for k, v in state["state"].items()}
    list(going)
    again = learner()
    again.load_state_dict(weights)
    other = Watching(again)
    other.load_state_dict(state)
    order = seeded(2)
    order.set_state(drawn)
    done = {"finished_tasks": 1, "finished_steps": first.steps}
    list(
        train(again, method(generator=seeded(0)), stream, other, generator=order, **done, **options)
    )
    assert other.rates == watched.rates[first.steps :]
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True)
    )


def transit(schedule: Schedule) -> tuple[InTransitTrainer, Watching]:
    model = learner()
    optimizer = Watching(model)
    sizes = {"now_samples": 6, "task_samples": 5, "batches_per_arrival": 2, "batch_size": 3}
    trainer = InTransitTrainer(
        model,
        Naive(generator=seeded(0)),
        optimizer,
        **sizes,
        generator=seeded(2),
        schedule=schedule,
    )
    return trainer, optimizer


def test_in_transit_a_curve_follows_the_arrivals_not_the_waiting() -> None:
    cosine = Schedule("cosine")
    trainer, optimizer = transit(cosine)
    for task in tasks((9, 9)):
        (samples,) = task.train
        trainer.begin_task(task.index, task.name, task.train, arrivals=3)
        for part in samples.split(3):
            trainer.learn((part,))
            trainer.train_again(1)  # while nothing comes: the rate stands still
        trainer.end_task()
    expected = factors(cosine, 6, 6)
    stretch = [*expected[:2], expected[1], *expected[2:4], expected[3], *expected[4:], expected[5]]
    assert optimizer.rates == pytest.approx(stretch * 2)


def test_in_transit_an_end_must_be_known_or_the_schedule_have_none() -> None:
    trainer, _ = transit(Schedule("decay"))
    with pytest.raises(ValueError, match=r"decay needs to know .*use constant or inverse_sqrt"):
        trainer.begin_task(0, "", (torch.zeros(1, 4),))
    trainer, optimizer = transit(ENDLESS)
    for task in tasks((6, 6)):
        trainer.begin_task(task.index, "", task.train)
        trainer.learn(task.train)
        trainer.end_task()
    assert optimizer.rates == pytest.approx(factors(ENDLESS, 4))
