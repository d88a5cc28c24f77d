"""Replay with every kind of memory, from inputs and from latents."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml.data.task import Task
from insituml.learner import ContinualLearner, sample_losses
from insituml.memory import (
    HerdingMemory,
    LossAwareMemory,
    QuotaMemory,
    ReservoirMemory,
    RingMemory,
)
from insituml.memory.herding import herd
from insituml.methods import ExperienceReplay
from insituml.models import MLP
from insituml.training import train

KINDS = [HerdingMemory, LossAwareMemory, QuotaMemory, ReservoirMemory, RingMemory]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 3, samples: int = 20) -> list[Task]:
    generator, tasks = seeded(10), []
    for k in range(count):
        x = torch.randn(samples, 4, generator=generator) + k
        tasks.append(Task(k, f"task {k}", (x,), (x[:4],)))
    return tasks


def model() -> MLP:
    return MLP(4, (5,), 2, generator=seeded(7))


class NoEncoder(ContinualLearner):
    """Has an output of two dimensions a sample, and no latent."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Linear(4, 6)

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.layer(batch[0]).view(-1, 2, 3)

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        return output.square().mean()


def run(learner, method, tasks, *, finished: int = 0, optimizer=None, generator=None):
    optimizer = optimizer or torch.optim.SGD(learner.parameters(), lr=0.02, momentum=0.9)
    generator = generator or seeded(5)
    options = {"epochs": 2, "batch_size": 5, "generator": generator, "finished_tasks": finished}
    list(train(learner, method, tasks, optimizer, **options))
    return optimizer, generator


@pytest.mark.parametrize("store", ["input", "latent"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_with_the_same_bits(kind, store: str) -> None:
    tasks = make_tasks()
    make = partial(ExperienceReplay, 9, 3, partial(kind, dtype="float16"), store)
    learner, method = model(), make(generator=seeded(0))
    optimizer, generator = run(learner, method, tasks[:2])
    other, resumed = copy.deepcopy(learner), make(generator=seeded(1))
    resumed.load_state_dict(copy.deepcopy(method.state_dict()), other)
    assert resumed.memory_bytes() == method.memory_bytes()
    again = torch.optim.SGD(other.parameters(), lr=0.02, momentum=0.9)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    order = seeded(5)
    order.set_state(generator.get_state())
    run(learner, method, tasks, finished=2, optimizer=optimizer, generator=generator)
    run(other, resumed, tasks, finished=2, optimizer=again, generator=order)
    for a, b in zip(learner.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(method.memory.all(), resumed.memory.all(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_makes_a_difference_of_its_own(kind) -> None:
    def weights(memory) -> Tensor:
        learner = model()
        run(learner, ExperienceReplay(9, 3, memory, generator=seeded(0)), make_tasks())
        return torch.cat([p.detach().flatten() for p in learner.parameters()])

    assert not any(torch.equal(weights(kind), weights(other)) for other in set(KINDS) - {kind})


def test_latents_of_the_end_of_the_task_are_replayed_by_the_latent_loss() -> None:
    learner, tasks = model(), make_tasks()
    method = ExperienceReplay(40, 4, store="latent", latent_weight=0.3, generator=seeded(0))
    method.begin_task(learner, tasks[0])
    method.observe(learner, tasks[0].train)
    assert len(method.memory) == 0
    assert torch.equal(method.loss(learner, tasks[0].train), learner.loss(tasks[0].train))
    method.end_task(learner, tasks[0])
    (latents,), task_of = method.memory.all(), method.memory.tasks()
    torch.testing.assert_close(latents, learner.encode(tasks[0].train[0]).detach())
    assert task_of.tolist() == [0] * 20
    method.begin_task(learner, tasks[1])
    batch = (tasks[1].train[0][:6],)
    state = method.generator.get_state()
    loss = method.loss(learner, batch)
    method.generator.set_state(state)
    (z,) = method.memory.sample(4)
    expected = learner.loss(batch) + 0.3 * (learner.encode(learner.decode(z)) - z).square().mean()
    torch.testing.assert_close(loss, expected)
    assert method.join(learner, batch) is batch


def test_a_loss_aware_memory_is_given_the_losses_of_the_batch() -> None:
    learner, tasks, given = model(), make_tasks(), []

    class Recording(LossAwareMemory):
        def add(self, samples, task, losses=None) -> None:
            given.append((samples, task, losses))
            super().add(samples, task, losses)

    method = ExperienceReplay(9, 3, Recording, generator=seeded(0))
    method.begin_task(learner, tasks[1])
    method.observe(learner, tasks[1].train)
    ((samples, task, losses),) = given
    assert samples is tasks[1].train
    assert task == 1
    expected = [mse_loss(learner(x[None])[1], x[None]).item() for x in samples[0]]
    torch.testing.assert_close(losses, torch.tensor(expected))
    method = ExperienceReplay(9, 3, Recording, "latent", generator=seeded(0))
    method.end_task(learner, tasks[1])
    torch.testing.assert_close(given[1][2], sample_losses(learner, tasks[1].train))


def test_herding_sees_latents_or_the_outputs_of_a_learner_without_encoder() -> None:
    (task, *_) = make_tasks(1, samples=150)  # more than one forward pass
    x = task.train[0]
    learner, plain = model(), NoEncoder()
    expected = {
        learner: learner.encode(x).detach(),
        plain: plain.output((x,)).flatten(1).detach(),
    }
    for chosen, features in expected.items():
        method = ExperienceReplay(12, 3, HerdingMemory, generator=seeded(0))
        method.end_task(chosen, task)
        assert torch.equal(method.memory.all()[0], x[herd(features, 12)])
    method = ExperienceReplay(12, 3, HerdingMemory, "latent", generator=seeded(0))
    method.end_task(learner, task)
    latent = expected[learner]
    torch.testing.assert_close(method.memory.all()[0], latent[herd(latent, 12)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype, x_bytes", [(None, 16), ("float16", 8)])
def test_memory_bytes_are_those_of_what_is_stored(kind, dtype: str | None, x_bytes: int) -> None:
    learner, tasks = model(), make_tasks()
    method = ExperienceReplay(9, 3, partial(kind, dtype=dtype), generator=seeded(0))
    run(learner, method, tasks)
    assert method.memory_bytes() == 9 * (x_bytes + kind.row_overhead)
    bounded = partial(kind, dtype=dtype, capacity_bytes=500)
    method = ExperienceReplay(None, 3, bounded, generator=seeded(0))
    run(model(), method, tasks)
    row = x_bytes + kind.row_overhead
    assert method.memory_bytes() == 500 // row * row
    assert len(method.memory) == 500 // row


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((9, 3, RingMemory, "both"), "store is 'both'; expected input or latent"),
        ((9, 3, RingMemory, "latent", 0.0), r"latent_weight is 0\.0; expected a positive"),
        ((None,), "capacity is None and capacity_bytes None; expected exactly one"),
        ((9, 3, partial(RingMemory, capacity_bytes=9)), "capacity is 9 and capacity_bytes 9"),
    ],
)
def test_constructor_errors(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExperienceReplay(*arguments, generator=seeded(0))


def p_of_uniform(counts: Tensor, draws: int, size: int) -> float:
    """Probability of counts as uneven as these, of ``draws`` draws of ``size`` different ones."""
    assert float(counts.sum()) == pytest.approx(draws * size)
    share = size / len(counts)
    # Draws without repetition: each count varies by share (1 - share) a draw, and their sum not.
    uneven = (counts - draws * share).square().sum() / (draws * share * (1 - share))
    return float(chi2.sf(float(uneven) * (1 - 1 / len(counts)), len(counts) - 1))


def remembering(memory_size: int, stream: int, generator: torch.Generator) -> ExperienceReplay:
    """Return a method that was shown a task of numbered samples, seven at a time."""
    method = ExperienceReplay(memory_size, 8, generator=generator)
    learner = model()
    for number in torch.arange(stream, dtype=torch.float32).split(7):
        method.observe(learner, (number,))
    method.begin_task(learner, Task(1, "the next", (), ()))
    return method


@pytest.mark.parametrize("stream", [25, 40, 400], ids=["partly full", "full", "long full"])
def test_the_whole_memory_is_replayed_evenly(stream: int) -> None:
    method, learner, draws = remembering(40, stream, seeded(0)), model(), 1500
    stored = method.memory.all()[0].sort().values
    assert len(stored) == min(stream, 40)
    counts = torch.zeros(len(stored))
    for _ in range(draws):
        (joint,) = method.join(learner, (torch.full((3,), -1.0),))
        assert joint[:3].eq(-1).all()
        counts[torch.searchsorted(stored, joint[3:])] += 1
    assert p_of_uniform(counts, draws, 8) > 1e-3
    # Counts of draws from the first entries, and from all but one entry, are told apart.
    for entries in (8, len(stored) - 1):
        partly = (torch.arange(len(stored)) < entries) * (draws * 8 / entries)
        assert p_of_uniform(partly, draws, 8) < 1e-9


def test_every_sample_of_the_stream_is_replayed_equally_often() -> None:
    counts, runs, generator = torch.zeros(60), 400, seeded(1)
    for _ in range(runs):
        (joint,) = remembering(12, 60, generator).join(model(), (torch.full((1,), -1.0),))
        counts[joint[1:].long()] += 1
    assert p_of_uniform(counts, runs, 8) > 1e-3
    latest = (torch.arange(60) >= 48) * (runs * 8 / 12)  # as a ring memory would
    assert p_of_uniform(latest, runs, 8) < 1e-9
