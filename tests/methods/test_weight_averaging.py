"""Weight averaging: the average has its closed form, buffers are copied, the learner may adopt."""

from __future__ import annotations

import copy
from functools import partial
from math import factorial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.methods import Combined, ExperienceReplay, Naive, WeightAveraging
from insituml.models import MLP
from insituml.training import train


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 2) -> list[Task]:
    generator, tasks = seeded(3), []
    for k in range(count):
        x = torch.randn(12, 4, generator=generator) + 2 * k
        tasks.append(Task(k, f"task {k}", (x,), (x[:3],)))
    return tasks


class Normed(ContinualLearner):
    """Batch normalisation: floating-point and whole-number buffers."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inner = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))
            self.outer = nn.Linear(5, 4)

    def encode(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def decode(self, latent: Tensor) -> Tensor:
        return self.outer(latent)


def fit(learner, method, tasks: list[Task], *, epochs: int = 2) -> None:
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
    options = {"epochs": epochs, "batch_size": 4, "generator": seeded(1)}
    list(train(learner, method, tasks, optimizer, **options))


def walk(method: WeightAveraging, steps: int) -> tuple[MLP, list[list[Tensor]]]:
    """Move a learner's weights at random; return it and its weights before and after each step."""
    learner, generator = MLP(4, (5,), 2).double(), seeded(2)
    method.begin_task(learner, make_tasks()[0])
    path = [[p.detach().clone() for p in learner.parameters()]]
    for _ in range(steps):
        with torch.no_grad():
            for p in learner.parameters():
                p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
        method.after_step(learner)
        path.append([p.detach().clone() for p in learner.parameters()])
    return learner, path


def warming(n: int, i: int) -> float:
    """``Π_{t=i+1}^{n} (1 + t)/(10 + t)`` by factorials."""
    return factorial(n + 1) * factorial(i + 10) / (factorial(i + 1) * factorial(n + 10))


@pytest.mark.parametrize("decay, steps", [(0.1, 7), (0.999, 40), (0.5, 1), (0.0, 3)])
def test_the_average_has_its_closed_form(decay: float, steps: int) -> None:
    method = WeightAveraging(decay, generator=seeded(0))
    _, path = walk(method, steps)
    if decay == 0.999:  # still warming up after 40 steps
        kept = [warming(steps, i) for i in range(steps + 1)]
        shares = [kept[0], *(kept[i] * 9 / (10 + i) for i in range(1, steps + 1))]
    elif decay == 0.5:  # one step of the warm-up
        shares = [2 / 11, 9 / 11]
    else:  # below the first step's 2/11: the plain exponential average
        shares = [decay**steps]
        shares += [(1 - decay) * decay ** (steps - i) for i in range(1, steps + 1)]
    assert sum(shares) == pytest.approx(1.0, abs=1e-12)
    averaged = list(method.average.model.parameters())
    for place, value in enumerate(averaged):
        expected = sum(share * weights[place] for share, weights in zip(shares, path, strict=True))
        torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-12)
        assert not value.requires_grad


def test_the_warm_up_hands_over_to_the_decay() -> None:
    method = WeightAveraging(0.9, generator=seeded(0))
    learner, _ = walk(method, 200)
    before = [p.clone() for p in method.average.model.parameters()]
    method.after_step(learner)
    for new, old, current in zip(
        method.average.model.parameters(), before, learner.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * current.detach(), rtol=1e-12, atol=0)


def test_initial_weights_are_soon_forgotten_however_slow_the_decay() -> None:
    shares = []
    for decay in (0.999, 0.9999):
        learner, method = MLP(4, (5,), 2).double(), WeightAveraging(decay, generator=seeded(0))
        with torch.no_grad():
            for p in learner.parameters():
                p.fill_(1.0)
        method.begin_task(learner, make_tasks()[0])
        with torch.no_grad():
            for p in learner.parameters():
                p.zero_()
        for _ in range(100):
            method.after_step(learner)
        shares.append(next(method.average.model.parameters()).max().item())
    assert shares == pytest.approx([warming(100, 0)] * 2)
    assert shares[0] < 1e-6 < 0.999**100


def test_buffers_are_copied() -> None:
    learner, method = Normed(), WeightAveraging(0.99, generator=seeded(0))
    fit(learner, method, make_tasks())
    own = dict(method.average.model.named_buffers())
    assert own["inner.1.num_batches_tracked"] == 12
    for name, buffer in learner.named_buffers():
        assert torch.equal(own[name], buffer)
        assert own[name] is not buffer


def test_the_loss_adds_the_distance_to_the_averages_output() -> None:
    tasks, learner = make_tasks(), MLP(4, (5,), 2)
    method = WeightAveraging(0.9, 3.0, generator=seeded(0))
    plain = copy.deepcopy(learner)
    fit(learner, method, tasks[:1])
    fit(plain, Naive(generator=seeded(0)), tasks[:1])
    for actual, expected in zip(learner.parameters(), plain.parameters(), strict=True):
        assert torch.equal(actual, expected)  # nothing to remember in the first task
    method.begin_task(learner, tasks[1])
    x = tasks[1].train[0]
    averaged = copy.deepcopy(learner)
    averaged.load_state_dict(method.state_dict()["average"])
    distance = mse_loss(learner(x)[1], averaged(x)[1].detach())
    assert distance > 1e-6
    loss = method.loss(learner, (x,))
    torch.testing.assert_close(loss, learner.loss((x,)) + 3.0 * distance)


def test_without_strength_training_is_plain_and_costs_no_pass() -> None:
    learner, plain = MLP(4, (5,), 2), MLP(4, (5,), 2)
    method = WeightAveraging(0.9, 0.0, generator=seeded(0))
    method.average.output = None  # type: ignore[assignment,method-assign]
    fit(learner, method, make_tasks())
    fit(plain, Naive(generator=seeded(0)), make_tasks())
    for actual, expected in zip(learner.parameters(), plain.parameters(), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("adopt", [True, False])
def test_the_learner_adopts_the_average_at_the_end_of_a_task(adopt: bool) -> None:
    learner = Normed()
    method = WeightAveraging(0.95, adopt=adopt, generator=seeded(0))
    fit(learner, method, make_tasks())
    averaged = method.state_dict()["average"]
    equal = [torch.equal(p, averaged[name]) for name, p in learner.named_parameters()]
    assert all(equal) if adopt else not any(equal)
    kept = averaged["outer.weight"].clone()
    with torch.no_grad():
        learner.outer.weight.add_(1.0)  # the two stay two
    assert torch.equal(method.state_dict()["average"]["outer.weight"], kept)


def test_beside_replay_the_loss_is_the_sum_of_its_parts() -> None:
    tasks, learner = make_tasks(), MLP(4, (5,), 2)
    parts = [partial(ExperienceReplay, 20, 5), partial(WeightAveraging, 0.9, 3.0)]
    both = Combined(parts, generator=seeded(0))
    fit(learner, both, tasks[:1])
    both.begin_task(learner, tasks[1])
    replay, averaging = both.methods
    state = both.generator.get_state()
    loss = both.loss(learner, tasks[1].train)
    both.generator.set_state(state)
    together = replay.join(learner, tasks[1].train)
    assert len(together[0]) == 17
    distance = mse_loss(learner.output(together), averaging.average.output(together))
    torch.testing.assert_close(loss, learner.loss(together) + 3.0 * distance)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"decay": 1.0}, "decay is 1.0; expected 0 or more and below 1"),
        ({"decay": -0.1}, "decay is -0.1"),
        ({"strength": -1.0}, "strength is -1.0; expected 0 or more"),
    ],
)
def test_impossible_options_are_refused(options, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WeightAveraging(**options, generator=seeded(0))
