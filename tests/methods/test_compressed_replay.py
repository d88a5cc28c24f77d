"""Replay of compressed samples: those that were seen, within the bound, in fewer bytes."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from insituml.data.mixing import IterationMixing
from insituml.data.task import Task
from insituml.memory import CompressedReservoir
from insituml.methods import CompressedReplay, DERPlusPlus, ExperienceReplay, Method
from insituml.models import AutoEncoder2D
from insituml.training import train

pytest.importorskip("zfpy")

SHAPE, BOUND = (2, 12, 10), 0.02


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 16) -> list[Task]:
    """Return smooth fields, whose number a second column tells."""
    x = torch.linspace(0, 2, SHAPE[2])
    tasks = []
    for k in range(3):
        number = torch.arange(count * k, count * (k + 1))
        fields = torch.sin(x + number.view(-1, 1, 1, 1)).expand(count, *SHAPE).contiguous()
        tasks.append(Task(k, str(k), (fields, number), (fields[:2], number[:2])))
    return tasks


def trained(method: Method) -> AutoEncoder2D:
    learner = AutoEncoder2D(SHAPE, (3,), 4, generator=seeded(0))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    options = {"epochs": 2, "batch_size": 8, "generator": seeded(1)}
    list(train(learner, method, make_tasks(), optimizer, **options))
    return learner


def seen(number: torch.Tensor) -> torch.Tensor:
    return torch.cat([task.train[0] for task in make_tasks()])[number]


def test_what_joins_a_batch_was_seen_but_for_the_bound() -> None:
    method = CompressedReplay(
        8, 5, partial(CompressedReservoir, rms_error=BOUND), generator=seeded(2)
    )
    plain = ExperienceReplay(8, 5, generator=seeded(2))
    learner = trained(method)
    trained(plain)
    assert method.memory_bytes() <= plain.memory_bytes()
    assert len(method.memory) > 2 * len(plain.memory) == 16
    batch = make_tasks()[0].train
    x, number = method.join(learner, batch)
    assert torch.equal(x[:16], batch[0])
    assert len(number[16:].unique()) == 5
    error = (x[16:] - seen(number[16:])).square().flatten(1).mean(1).sqrt()
    assert 0 < error.max() <= BOUND


def test_outputs_kept_beside_samples_are_within_the_bound_too() -> None:
    method = DERPlusPlus(
        8, 5, memory=partial(CompressedReservoir, rms_error=BOUND), generator=seeded(2)
    )
    learner = trained(method)
    memory = method.memory
    assert isinstance(memory, CompressedReservoir)
    assert memory.bytes == method.memory_bytes() <= (memory.capacity_bytes or 0)
    x, number, output = memory.sample(None, of_task=2)
    assert len(x) > 2
    with torch.no_grad():
        # The last task's outputs are of the model as it is now, on what is stored of its samples.
        expected = learner.eval().output((x, number))
    assert (output - expected).square().flatten(1).mean(1).sqrt().max() <= BOUND
    assert (x - seen(number)).square().flatten(1).mean(1).sqrt().max() <= BOUND


@pytest.mark.parametrize("mixes", [True, False])
def test_what_is_replayed_is_mixed_on_request(mixes: bool) -> None:
    memory = partial(CompressedReservoir, rms_error=1e-6)
    method = CompressedReplay(50, 6, memory, mixes, generator=seeded(2))
    method.mix_replayed(IterationMixing(1, 2))
    learner = AutoEncoder2D(SHAPE, (3,), 4, generator=seeded(0))
    (task, *_) = make_tasks()
    method.begin_task(learner, task)
    method.observe(learner, task.train)
    method.end_task(learner, task)
    fields, numbers = method.join(learner, tuple(column[:1] for column in task.train))
    replayed, own = fields[1:], task.train[0][numbers[1:]]
    assert len(replayed) == 6
    between = [not torch.allclose(a, b, atol=1e-4) for a, b in zip(replayed, own, strict=True)]
    assert all(between) if mixes else not any(between)
