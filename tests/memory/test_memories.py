"""What holds for every kind of memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from insituml.data.task import Batch
from insituml.memory import (
    EpisodicMemory,
    HerdingMemory,
    LossAwareMemory,
    Memory,
    QuotaMemory,
    ReservoirMemory,
    RingMemory,
)

KINDS = [EpisodicMemory, HerdingMemory, LossAwareMemory, QuotaMemory, ReservoirMemory, RingMemory]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def offer(memory: Memory, task: int, count: int = 20, batch: int = 7) -> None:
    """Show a task whole: samples 1000 · task + place, in two columns that tell their place."""
    number = 1000 * task + torch.arange(count)
    samples = (number.float().view(-1, 1).expand(-1, 3).contiguous(), number)
    losses = torch.rand(count, generator=seeded(task))
    for rows in torch.arange(count).split(batch):
        part = tuple(t[rows] for t in samples)
        memory.add(part, task, losses[rows] if memory.needs_losses else None)
    features = torch.randn(count, 2, generator=seeded(task)) if memory.needs_features else None
    memory.finish_task(samples, task, features)


def made(kind: Callable[..., Memory], tasks: int = 3, **options: Any) -> Memory:
    options = {"capacity": 10, "generator": seeded(0), "total_tasks": tasks, **options}
    return kind(options.pop("capacity"), **options)


def filled(kind: Callable[..., Memory], tasks: int = 3, **options: Any) -> Memory:
    memory = made(kind, tasks, **options)
    for task in range(tasks):
        offer(memory, task)
    return memory


@pytest.mark.parametrize("kind", KINDS)
def test_rows_stay_together_and_know_their_task(kind) -> None:
    memory = filled(kind)
    (x, number), tasks = memory.all(), memory.tasks()
    assert len(number.unique()) == len(number) == len(memory) == memory.capacity == 10
    assert torch.equal(x, number.float().view(-1, 1).expand(-1, 3))
    assert torch.equal(tasks, number // 1000)
    present, counts = tasks.unique(return_counts=True)
    assert memory.counts() == dict(zip(present.tolist(), counts.tolist(), strict=True))
    tasks.fill_(9)
    assert 9 not in memory.counts()  # a copy


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_can_be_looked_at_without_a_copy(kind) -> None:
    memory = filled(kind, 1, capacity=30)
    for looked, copied in zip(memory.stored(), memory.all(), strict=True):
        assert torch.equal(looked, copied)
        looked.zero_()
    assert not any(column.any() for column in memory.all())
    half = filled(kind, 1, dtype="float16")
    x, number = half.stored()
    assert (x.dtype, number.dtype) == (torch.float32, torch.int64)
    assert torch.equal(x[:, 0].long(), number)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_distinct_contiguous_and_uniform_over_the_whole_memory(kind) -> None:
    memory = filled(kind)
    stored = memory.all()[1].sort().values
    drawn, trials = torch.zeros(10), 1500
    for _ in range(trials):
        x, number = memory.sample(4)
        assert x.is_contiguous()
        assert torch.equal(x[:, 0].long(), number)
        assert len(number.unique()) == 4
        drawn[torch.searchsorted(stored, number)] += 1
    p = 4 / 10
    z = (drawn - trials * p) / math.sqrt(trials * p * (1 - p))
    assert z.abs().max() < 4.0
    assert torch.equal(memory.sample(100)[1].sort().values, stored)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_can_be_completed(kind) -> None:
    memory, again = filled(kind), filled(kind)
    asked = []

    def complete(samples: Batch) -> Batch:
        asked.append(samples)
        return (samples[1] * 2, *samples)

    doubled, *drawn = memory.sample_completed(4, complete)
    assert torch.equal(doubled, drawn[1] * 2)
    for column, given, expected in zip(drawn, asked[0], again.sample(4), strict=True):
        assert torch.equal(column, expected)
        assert torch.equal(given, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_can_leave_a_task_out(kind) -> None:
    memory = filled(kind)
    stored = memory.all()[1]
    kept = stored[stored // 1000 != 1].sort().values
    assert torch.equal(memory.sample(100, without_task=1)[1].sort().values, kept)
    assert len(memory.sample(2, without_task=1)[1].unique()) == min(2, len(kept))
    everything = memory.sample(100, without_task=99)[1].sort().values
    assert torch.equal(everything, stored.sort().values)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_can_be_of_one_task(kind) -> None:
    memory = filled(kind)
    stored, tasks = memory.all()[1], memory.tasks()
    for task, count in memory.counts().items():
        own = stored[tasks == task]
        assert torch.equal(memory.sample(None, of_task=task)[1], own)
        assert torch.equal(memory.sample(100, of_task=task)[1].sort().values, own.sort().values)
        one = torch.cat([memory.sample(1, of_task=task)[1] for _ in range(60 * count)])
        assert torch.equal(one.unique(), own.sort().values)  # each can be drawn
    assert len(memory.sample(3, of_task=99)[1]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_size_all_is_returned_in_order_and_nothing_drawn(kind) -> None:
    memory = filled(kind)
    state, tasks = memory.generator.get_state(), memory.tasks()
    for drawn, expected in (
        (memory.sample(None), memory.all()),
        (memory.sample(None, without_task=1), [c[tasks != 1] for c in memory.all()]),
    ):
        assert all(map(torch.equal, drawn, expected))
    assert torch.equal(memory.generator.get_state(), state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_can_be_revised(kind) -> None:
    memory, twin = filled(kind), filled(kind)
    memory.revise(1, lambda samples: (samples[0] + 0.5, samples[1]), batch_size=2)
    (x, number), tasks = memory.all(), memory.tasks()
    before, same = twin.all()
    assert torch.equal(number, same)
    assert torch.equal(x, before + 0.5 * (tasks == 1).view(-1, 1))
    memory.revise(7, lambda samples: samples)  # a task of which nothing is stored


@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}, {"capacity": None}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_goes_on_where_it_was_in_the_middle_of_a_stream(kind, options) -> None:
    if options == {"capacity": None}:
        options = {"capacity": None, "capacity_bytes": 10 * (12 + 8 + kind.row_overhead)}
    first = filled(kind, 2, **options)
    second = made(kind, 2, generator=seeded(99), **options)
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    for memory in (first, second):
        for task in (2, 3):
            offer(memory, task)
    assert first.counts() == second.counts()
    assert len(first) == 10
    for a, b in zip(first.all(), second.all(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(first.sample(5), second.sample(5), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_loading_takes_a_copy(kind) -> None:
    first, second = filled(kind, 1), made(kind, 1)
    second.load_state_dict(first.state_dict())
    before = second.all()
    for task in (1, 2, 3):
        offer(first, task)
    assert torch.equal(second.all()[1], before[1])
    assert second.counts() == {0: 10}


def size_of(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    if isinstance(value, list):
        return sum(map(size_of, value))
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0


@pytest.mark.parametrize("dtype, x_bytes", [(None, 12), ("float16", 6)])
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_count_all_that_is_kept(kind, dtype: str | None, x_bytes: int) -> None:
    row = x_bytes + 8 + kind.row_overhead
    for spare in (0, row - 1):
        budget = 9 * row + spare
        memory = filled(kind, capacity=None, capacity_bytes=budget, dtype=dtype)
        assert memory.capacity == len(memory) == 9
        assert size_of(memory.state_dict()) == 9 * row
    with pytest.raises(ValueError, match=f"capacity_bytes is {row - 1}, but one sample takes"):
        filled(kind, capacity=None, capacity_bytes=row - 1, dtype=dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_with_room_keeps_everything(kind) -> None:
    memory = filled(kind, 2, capacity=64)
    expected = [*range(20), *range(1000, 1020)]
    assert memory.all()[1].sort().values.tolist() == expected
    assert memory.counts() == {0: 20, 1: 20}


@pytest.mark.parametrize("kind", KINDS)
def test_same_generator_same_bits(kind) -> None:
    assert torch.equal(filled(kind).all()[1], filled(kind).all()[1])


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_memory_and_other_shapes(kind) -> None:
    memory = made(kind, capacity=4)
    assert len(memory) == 0
    assert memory.counts() == {}
    assert memory.tasks().tolist() == []
    for draw in ({}, {"of_task": 0}, {"without_task": 0}):
        with pytest.raises(ValueError, match="memory is empty"):
            memory.sample(2, **draw)
    memory = filled(kind, 1)
    one = torch.ones(1)
    store = memory.finish_task if kind in (EpisodicMemory, HerdingMemory) else memory.add
    with pytest.raises(ValueError, match="one memory per stream"):
        store((torch.zeros(1, 5), one), 1, one)
    with pytest.raises(ValueError, match="expected exactly one of them"):
        kind(total_tasks=1)
