"""Joint training until a validation part stops improving, against a loop written by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from insituml.data.task import Task
from insituml.evaluation import loss_matrix
from insituml.methods import Cumulative, Joint, JointConverged, Method
from insituml.metrics import final_average_error
from insituml.models import MLP
from insituml.optimisation import AveragedWeights, Schedule
from insituml.training import TaskRecord, train

RATE = 0.2


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 3, samples: int = 24, noise: float = 1.0) -> list[Task]:
    """Points near a line each; parts of different sizes, so that averages over tasks show."""
    generator, tasks = seeded(3), []
    for k in range(count):
        along = torch.randn(samples, 1, generator=generator)
        direction = torch.randn(1, 5, generator=generator)
        x = along * direction + 0.1 * noise * torch.randn(samples, 5, generator=generator) + 0.5 * k
        parts = (x[8:],), (x[:4],), (x[4 : 6 + k],)
        tasks.append(Task(k, f"task {k}", parts[0], parts[1], validation=parts[2]))
    return tasks


def make_learner(seed: int = 1) -> MLP:
    return MLP(5, (8,), 2, generator=seeded(seed))


def fit(
    learner: MLP, method: Method, tasks: list[Task], *, rate: float = RATE, **more: Any
) -> tuple[list[TaskRecord], torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(learner.parameters(), lr=rate)
    options = {"epochs": 20, "batch_size": 6, "generator": seeded(5), **more}
    return list(train(learner, method, tasks, optimizer, **options)), optimizer


def typical(learner: MLP, tasks: list[Task]) -> float:
    """Geometric mean over tasks of the error on their validation parts."""
    row = loss_matrix([learner], [Task(0, "", (), t.validation) for t in tasks])["mse"]
    return float(np.exp(np.log(row).mean()))


def by_hand(
    learner: MLP, tasks: list[Task], patience: int, share: float, fall: float, rounds: int
) -> tuple[dict[str, Any], int, list[int]]:
    """Return the best weights, how many epochs it took and where each round ended."""
    x, order = torch.cat([task.train[0] for task in tasks]), seeded(5)
    parameters = list(learner.parameters())
    best, kept, before, epochs = float("inf"), {}, float("inf"), 0
    own_best, own_kept, improved = float("inf"), {}, float("inf")

    def train_epoch(rate: float) -> bool:
        """Return whether the round's error has improved by the share."""
        nonlocal best, kept, own_best, own_kept, improved, epochs
        for rows in torch.randperm(len(x), generator=order).split(6):
            loss = (learner(x[rows])[1] - x[rows]).square().mean()
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                p.data -= rate * g
        epochs += 1
        with torch.no_grad():
            errors = [(learner(t.validation[0])[1] - t.validation[0]).square() for t in tasks]
        now = float(torch.stack([e.double().mean() for e in errors]).log().mean().exp())
        if now < own_best:
            own_best, own_kept = now, copy.deepcopy(learner.state_dict())
        if now < best:
            best, kept = now, copy.deepcopy(learner.state_dict())
        better = now < improved
        if better:
            improved = now * (1 - share)
        return better

    ends: list[int] = []
    while len(ends) < rounds:
        held = since = 0
        own_best = improved = float("inf")
        while since < patience:
            since = 0 if train_epoch(RATE) else since + 1
            held += 1
        learner.load_state_dict(own_kept)
        falling = max(1, round(fall * held))
        for k in range(falling):
            train_epoch(RATE * (1 - (k + 0.5) / falling))
        learner.load_state_dict(kept)
        ends.append(epochs)
        if best >= before:
            break
        before = best * (1 - share)
    return kept, epochs, ends


@pytest.mark.parametrize("rounds, share", [(1, 0.02), (2, 0.02), (7, 0.3), (7, 0.001)])
def test_a_round_holds_the_rate_and_lets_it_fall_and_one_in_vain_is_the_last(
    rounds: int, share: float
) -> None:
    tasks, learner = make_tasks(), make_learner()
    method = JointConverged(32, 1, share, 0.4, rounds, generator=seeded(0))
    records, optimizer = fit(learner, method, tasks)
    expected, epochs, ends = by_hand(make_learner(), tasks, 4, share, 0.4, rounds)
    for name, value in learner.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4)
    assert method.epochs == epochs
    assert optimizer.param_groups[0]["lr"] == pytest.approx(RATE)  # as a round begins
    # As many checkpoints as tasks; rounds are dealt out from the front, the rest changes nothing.
    assert [record.task for record in records] == [0, 1, 2]
    last = [ends[min(-(-(k + 1) * rounds // 3), len(ends)) - 1] for k in range(3)]
    steps = torch.tensor([record.steps for record in records]).cumsum(0).tolist()
    assert steps == [8 * epoch for epoch in last]
    assert method.note == "".join(record.note for record in records) == ""


def test_epochs_at_most_are_kept_to_and_said() -> None:
    tasks, learner = make_tasks(), make_learner()
    method = JointConverged(patience=500, max_epochs=7, generator=seeded(0))
    records, _ = fit(learner, method, tasks)
    assert sum(record.steps for record in records) == 7 * 8
    assert method.note == "not converged: max_epochs=7 ended it in round 1"
    assert records[-1].note == method.note
    assert method.memory_bytes() > 0  # the best weights


def test_the_best_weights_are_those_by_validation_not_the_last() -> None:
    """With so few samples training goes on to get better while validation gets worse."""
    tasks = [
        Task(t.index, t.name, (t.train[0][:3],), t.test, validation=t.validation)
        for t in make_tasks(noise=6.0)
    ]
    learner = make_learner()
    method = JointConverged(1, 30, 0.0, 0.5, 1, max_epochs=400, generator=seeded(0))
    errors = []
    original = method.end_epoch

    def noting(learner: Any, task: Task) -> Any:
        errors.append(typical(learner, tasks))
        return original(learner, task)

    method.end_epoch = noting  # type: ignore[method-assign]
    fit(learner, method, tasks)
    final = typical(learner, tasks)
    assert final == pytest.approx(min(errors))
    assert final < errors[-1]


def test_it_may_begin_as_cumulative_training_does() -> None:
    tasks, learner, other = make_tasks(), make_learner(), make_learner()
    method = JointConverged(24, 1, cumulative_start=True, generator=seeded(0))
    before = []
    optimizer = torch.optim.SGD(learner.parameters(), lr=RATE)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 6, "generator": seeded(5)}
    for record in train(learner, method, tasks, optimizer, **options):
        before.append((record.steps, copy.deepcopy(learner.state_dict())))
    records, _ = fit(other, Cumulative(generator=seeded(0)), tasks[:2], epochs=3)
    assert [steps for steps, _ in before[:2]] == [record.steps for record in records]
    for name, value in other.state_dict().items():
        assert torch.equal(before[1][1][name], value)
    assert before[2][0] == 8 * method.epochs > 0
    assert method.round == method.rounds
    assert optimizer.param_groups[0]["lr"] == pytest.approx(RATE)


def test_a_schedules_end_and_an_average_are_left_out() -> None:
    tasks, plain, other = make_tasks(), make_learner(), make_learner()
    fit(plain, JointConverged(24, 1, generator=seeded(0)), tasks)
    average = AveragedWeights(0.9)
    more = {"schedule": Schedule("cosine"), "average": average}
    fit(other, JointConverged(24, 1, generator=seeded(0)), tasks, **more)
    for ours, theirs in zip(other.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert average.state_dict()["means"] == {}


def test_a_warm_up_comes_before_rates_that_fall() -> None:
    rates = []

    class Noting(JointConverged):
        def after_step(self, learner: Any) -> None:
            super().after_step(learner)
            rates.append(optimizer.param_groups[0]["lr"])

    learner, tasks = make_learner(), make_tasks()
    optimizer = torch.optim.SGD(learner.parameters(), lr=RATE)
    method = Noting(16, 1, 0.0, 0.5, 1, generator=seeded(0))
    options: dict[str, Any] = {"epochs": 3, "batch_size": 6, "generator": seeded(5)}
    schedule = Schedule(warmup_steps=5)
    list(train(learner, method, tasks, optimizer, schedule=schedule, **options))
    assert rates[:6] == pytest.approx([RATE * k / 5 for k in range(1, 6)] + [RATE])
    by_epoch = rates[7::8]
    held = by_epoch.count(pytest.approx(RATE))
    falling = len(by_epoch) - held
    assert falling == max(1, round(0.5 * held))
    expected = [RATE * (1 - (k + 0.5) / falling) for k in range(falling)]
    assert by_epoch[held:] == pytest.approx(expected)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(RATE)


class Patient(JointConverged):
    """As it is, with a patience for data as small as these."""

    def __init__(self, *, generator: torch.Generator) -> None:
        super().__init__(patience=100, generator=generator)


def test_it_is_a_bound_for_cumulative_training_and_for_joint_training_of_equal_length() -> None:
    """At most one standard deviation above; in truth well below."""
    tasks, errors = make_tasks(samples=48), {}
    for name, make in {"joint": Joint, "cumulative": Cumulative, "bound": Patient}.items():
        finals = []
        for seed in range(3):
            learner = make_learner(seed)
            fit(learner, make(generator=seeded(0)), tasks, epochs=10, rate=0.05)
            row = loss_matrix([learner], tasks)["mse"]
            finals.append(final_average_error(row.repeat(3, axis=0)))
        errors[name] = torch.tensor(finals)
    for other in ("joint", "cumulative"):
        assert errors["bound"].mean() <= errors[other].mean() + errors[other].std()


def test_without_a_validation_part_the_key_is_named() -> None:
    tasks = [Task(t.index, t.name, t.train, t.test) for t in make_tasks()]
    with pytest.raises(ValueError, match=r"no task has one; set data\.split\.validation"):
        fit(make_learner(), JointConverged(generator=seeded(0)), tasks)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"patience": 0}, "patience is 0"),
        ({"fewest_epochs": 0}, "fewest_epochs 0"),
        ({"max_epochs": 0}, "max_epochs 0"),
        ({"rounds": 0}, "rounds 0"),
        ({"anneal_share": 0.0}, "anneal_share is 0.0"),
        ({"anneal_share": 1.5}, "anneal_share is 1.5"),
        ({"min_improvement": -0.1}, "min_improvement -0.1"),
    ],
)
def test_numbers_out_of_range(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JointConverged(**wrong, generator=seeded(0))
