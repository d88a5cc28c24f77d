"""Sketched replay: its loss by hand, what it keeps, whom it refuses."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Task
from insituml.in_transit import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.memory import ReservoirMemory, Sketch
from insituml.methods import EWC, Combined, Naive, SketchedReplay
from insituml.models import (
    MLP,
    AutoEncoder1D,
    AutoEncoder2D,
    AutoEncoder3D,
    ConvolutionalAutoEncoder,
    HybridAutoEncoder,
)
from insituml.training import train


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(
    count: int = 3, samples: int = 20, shape: tuple[int, ...] = (6,), dtype=torch.float64
) -> list[Task]:
    generator, tasks = seeded(10), []
    for k in range(count):
        x = torch.randn(samples, *shape, generator=generator, dtype=dtype) + k
        labels = torch.arange(samples)
        tasks.append(Task(k, f"task {k}", (x, labels), (x[:4], labels[:4])))
    return tasks


def model() -> MLP:
    return MLP(6, (5,), 2, "tanh", generator=seeded(7)).double()


def fit(learner, method, tasks, **options):
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.02, momentum=0.9)
    options = {"epochs": 2, "batch_size": 5, "generator": seeded(5), **options}
    list(train(learner, method, tasks, optimizer, **options))
    return optimizer


@pytest.mark.parametrize("sketch", ["transform", "gaussian"])
def test_the_loss_by_hand(sketch: str) -> None:
    learner, tasks = model(), make_tasks()
    method = SketchedReplay(50, 4, 3, sketch, 0.7, 0.2, generator=seeded(0))
    method.begin_task(learner, tasks[0])
    method.observe(learner, tasks[0].train)
    assert torch.equal(method.loss(learner, tasks[0].train), learner.loss(tasks[0].train))
    method.end_task(learner, tasks[0])
    x = tasks[0].train[0]
    latents = learner.encode(x).detach()
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.2)
    method.begin_task(learner, tasks[1])
    state = method.generator.get_state()
    loss = method.loss(learner, tasks[1].train)
    method.generator.set_state(state)
    rows = torch.randperm(20, generator=method.generator)[:4]  # in the order of the task
    made = Sketch((6,), 3, sketch, method.state_dict()["seed"])
    units = torch.eye(6, dtype=torch.float64)
    expected = learner.loss(tasks[1].train)
    moved = power = 0.0
    for row in rows.tolist():
        s = made(units, torch.full((6,), row)).T
        decoded = learner.decode(latents[row : row + 1])[0]
        expected = expected + 0.7 * (s @ decoded - s @ x[row]).square().sum() / (4 * 6)
        moved += (learner.encode(decoded.detach()[None])[0] - latents[row]).square().sum()
        power += latents[row].square().sum()
    expected = expected + 0.2 * moved / power
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    ours = torch.autograd.grad(loss, list(learner.parameters()))
    theirs = torch.autograd.grad(expected, list(learner.parameters()))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_the_gradient_is_that_of_finite_differences() -> None:
    learner, tasks = model(), make_tasks()
    method = SketchedReplay(50, 20, 2, latent_weight=0.0, generator=seeded(0))
    method.end_task(learner, tasks[0])
    method.begin_task(learner, tasks[1])

    def penalty() -> Tensor:  # of all that is stored, in whatever order
        value = method.penalty(learner, tasks[1].train, None)
        assert value is not None
        return value

    weight = learner.decoder.layers[0].weight
    (gradient,) = torch.autograd.grad(penalty(), weight)
    with torch.no_grad():
        for place in [(0, 0), (3, 1)]:
            values = []
            for step in (1e-5, -1e-5):
                weight[place] += step
                values.append(penalty().item())
                weight[place] -= step
            numeric = (values[0] - values[1]) / 2e-5
            assert gradient[place].item() == pytest.approx(numeric, rel=1e-6)


def test_in_expectation_the_first_term_is_the_squared_error_of_what_latents_decode_to() -> None:
    learner, (task, later) = model(), make_tasks(2, samples=2000)
    method = SketchedReplay(2000, 2000, 2, latent_weight=0.0, generator=seeded(0))
    method.end_task(learner, task)
    method.begin_task(learner, later)
    penalty = method.penalty(learner, later.train, None)
    error = (learner.decode(learner.encode(task.train[0])) - task.train[0]).square().mean(dim=1)
    # Of one sample it varies by 2 e² / 2 at most; 2,000 independent ones; 4.9 deviations: 1e-6.
    deviation = error.square().sum().sqrt() / len(error)
    assert abs(penalty - error.mean()) < 4.9 * deviation


def test_the_decoder_learns_from_sketches_and_the_encoder_follows() -> None:
    learner, tasks = model(), make_tasks()
    method = SketchedReplay(50, 20, 3, generator=seeded(0))
    method.end_task(learner, tasks[0])
    method.begin_task(learner, tasks[1])
    for alpha, weight, reached in [(1.0, 0.0, "decoder"), (0.0, 1.0, "encoder")]:
        method.alpha, method.latent_weight = alpha, weight
        learner.zero_grad()
        method.penalty(learner, tasks[1].train, None).backward()
        moved = {
            n.split(".")[0]
            for n, p in learner.named_parameters()
            if p.grad is not None and p.grad.any()
        }
        assert moved == {reached}


def test_what_is_kept_and_how_many_bytes_it_takes() -> None:
    tasks = make_tasks(dtype=torch.float32)
    for dtype, width in ((None, 4), ("float16", 2)):
        learner = MLP(6, (5,), 2, generator=seeded(7))
        memory = partial(ReservoirMemory, dtype=dtype)
        method = SketchedReplay(30, 4, 0.5, memory=memory, generator=seeded(0))
        fit(learner, method, tasks)
        # Latent, sketch, the number of its map, and that of the task, both whatever the dtype.
        assert method.memory_bytes() == 30 * ((2 + 3) * width + 4 + 8)
        z, sketches, maps = method.memory.all()
        assert (z.shape, sketches.shape) == ((30, 2), (30, 3))
        assert len(maps.unique()) == 30
        assert maps.max() < 60
        # Task 2 was the last: its latents are those of the weights there are now.
        rows = method.memory.tasks() == 2
        x = tasks[2].train[0][maps[rows].long() - 40]
        made = Sketch((6,), 3, seed=method.state_dict()["seed"])
        tolerance = {"rtol": 2e-3, "atol": 2e-3} if dtype else {}
        torch.testing.assert_close(sketches[rows], made(x, maps[rows]), **tolerance)
        torch.testing.assert_close(z[rows], learner.encode(x).detach(), **tolerance)


def test_bytes_buy_many_times_as_many_samples() -> None:
    tasks = make_tasks(2, samples=40, shape=(3, 8, 8, 8), dtype=torch.float32)
    learner = AutoEncoder3D((3, 8, 8, 8), (4,), 4)
    memory = partial(ReservoirMemory, capacity_bytes=4 * 3 * 8**3)  # one sample's
    method = SketchedReplay(None, 4, 0.01, memory=memory, generator=seeded(0))
    method.end_task(learner, tasks[0])
    assert len(method.memory) == 40
    assert method.memory_bytes() <= 4 * 3 * 8**3


@pytest.mark.parametrize("sketch", ["transform", "gaussian"])
@pytest.mark.parametrize(
    "learner, shape",
    [
        (AutoEncoder1D, (2, 9)),
        (AutoEncoder2D, (1, 6, 5)),
        (AutoEncoder3D, (3, 4, 6, 5)),
        (partial(AutoEncoder2D, downsampling="pool"), (1, 6, 5)),
        (ConvolutionalAutoEncoder, (3, 4, 6, 5)),
        (HybridAutoEncoder, (3, 4, 6, 5)),
    ],
)
def test_every_autoencoder_trains_and_resumes_bit_for_bit(learner, shape, sketch: str) -> None:
    tasks = make_tasks(shape=shape, samples=7, dtype=torch.float32)
    make = partial(SketchedReplay, 12, 3, 0.2, sketch)
    whole, method = learner(shape, (3,), 4), make(generator=seeded(0))
    order = seeded(5)
    optimizer = fit(whole, method, tasks[:2], generator=order)
    other, resumed = copy.deepcopy(whole), make(generator=seeded(1))
    resumed.load_state_dict(copy.deepcopy(method.state_dict()), other)
    again = torch.optim.SGD(other.parameters(), lr=0.02, momentum=0.9)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for net, how, steps in ((whole, method, optimizer), (other, resumed, again)):
        later = seeded(5)
        later.set_state(order.get_state())
        options = {"epochs": 2, "batch_size": 5, "generator": later, "finished_tasks": 2}
        list(train(net, how, tasks, steps, **options))
    for a, b in zip(whole.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
        assert torch.isfinite(a).all()
    plain = learner(shape, (3,), 4)
    fit(plain, Naive(generator=seeded(0)), tasks)
    assert not torch.equal(next(plain.parameters()), next(whole.parameters()))


def test_in_transit_the_kept_sample_of_a_task_is_sketched() -> None:
    learner, tasks = model(), make_tasks()
    method = SketchedReplay(50, 3, 2, generator=seeded(0))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.02)
    options = {"now_samples": 8, "task_samples": 12, "batches_per_arrival": 2, "batch_size": 5}
    trainer = InTransitTrainer(learner, method, optimizer, generator=seeded(5), **options)
    for task in tasks:
        trainer.begin_task(task.index, task.name, task.train)
        for first in range(0, 20, 4):
            trainer.learn(tuple(column[first : first + 4] for column in task.train))
        trainer.end_task(task.test)
    assert method.memory.counts() == {0: 12, 1: 12, 2: 12}


def test_it_forgets_less_than_naive_from_a_tenth_of_the_bytes() -> None:
    # Samples of a plane, another one in each task.
    generator, tasks = seeded(2), []
    for k in range(2):
        plane = torch.linalg.qr(torch.randn(40, 2, generator=generator))[0].T * 3
        x = torch.randn(60, 2, generator=generator) @ plane
        tasks.append(Task(k, "", (x,), (x,)))
    errors = {}
    for name, method in {
        "naive": Naive(generator=seeded(0)),
        "sketched": SketchedReplay(60, 10, 4, generator=seeded(0)),
    }.items():
        learner = MLP(40, (32,), 4, generator=seeded(1))
        optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
        options = {"epochs": 20, "batch_size": 10, "generator": seeded(5)}
        list(train(learner, method, tasks, optimizer, **options))
        errors[name] = learner.errors(tasks[0].test)["mse"].mean().item()
    assert errors["sketched"] < 0.5 * errors["naive"]


def test_beside_ewc_the_penalties_add_up() -> None:
    learner, tasks = model(), make_tasks()
    parts = [partial(EWC, 5.0), partial(SketchedReplay, 50, 20, 3)]
    both = Combined(parts, generator=seeded(0))
    fit(learner, both, tasks[:1])
    both.begin_task(learner, tasks[1])
    ewc, sketched = both.methods
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.2)
    batch = tasks[1].train
    expected = learner.loss(batch) + ewc.penalty(learner, batch, None)
    expected = expected + sketched.penalty(learner, batch, None)
    torch.testing.assert_close(both.loss(learner, batch), expected)


class Classifier(ContinualLearner):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 20)

    def encode(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def output(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.layer(batch[0])


def test_a_learner_that_reconstructs_nothing_is_refused_before_it_trains() -> None:
    method = SketchedReplay(50, generator=seeded(0))
    with pytest.raises(ValueError, match=r"Classifier defines no .* such as an autoencoder"):
        method.begin_task(Classifier(), make_tasks()[0])


def test_a_flow_is_refused() -> None:
    pytest.importorskip("zuko")
    from insituml.models import ConditionalFlow

    method = SketchedReplay(50, generator=seeded(0))
    with pytest.raises(ValueError, match="ConditionalFlow defines no encode"):
        method.begin_task(ConditionalFlow(6, 1), make_tasks()[0])


@pytest.mark.parametrize(
    "options, said",
    [
        ({"sketch_size": 0}, "sketch_size is 0; expected a share"),
        ({"sketch_size": 1.5}, "sketch_size is 1.5; expected a share"),
        ({"sketch_size": True}, "sketch_size is True; expected a share"),
        ({"sketch": "fourier"}, "sketch is 'fourier'; expected one of transform, gaussian"),
        ({"alpha": -1.0}, "alpha is -1.0; expected 0 or more"),
        ({"latent_weight": -1.0}, "latent_weight is -1.0; expected 0 or more"),
        ({"replay_size": 0}, "replay_size is 0; expected 1 or more"),
        ({"memory_size": 0}, "capacity is 0"),
    ],
)
def test_impossible_options_are_refused(options, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SketchedReplay(**{"memory_size": 10, **options}, generator=seeded(0))
