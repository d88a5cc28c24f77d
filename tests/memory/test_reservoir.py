"""Uniformity and bookkeeping of the reservoir."""

from __future__ import annotations

import math

import pytest
import torch

from insituml.memory import ReservoirMemory


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(capacity: int, batches: list[int], generator: torch.Generator) -> ReservoirMemory:
    memory, start = ReservoirMemory(capacity, generator=generator), 0
    for task, size in enumerate(batches):
        memory.add((torch.arange(start, start + size),), task)
        start += size
    return memory


@pytest.mark.parametrize(
    "batches",
    [[1] * 24, [7, 7, 7, 3], [6, 18], [24], [5, 2, 1, 16]],
    ids=["one by one", "across the boundary", "exactly full", "at once", "mixed"],
)
def test_every_sample_is_kept_with_equal_probability(batches: list[int]) -> None:
    capacity, count, trials = 6, 24, 600
    generator, kept = seeded(0), torch.zeros(count)
    for _ in range(trials):
        (stored,) = filled(capacity, batches, generator).all()
        assert len(stored.unique()) == capacity
        kept[stored] += 1
    p = capacity / count
    z = (kept - trials * p) / math.sqrt(trials * p * (1 - p))
    assert z.abs().max() < 4.0
    # Σ z² has mean n (1 − …) ≈ n and variance ≈ 2 n.
    assert z.square().sum() < count + 4 * math.sqrt(2 * count)


@pytest.mark.parametrize("batches", [[3], [1, 1, 1], [2, 1]], ids=str)
def test_a_single_row_holds_each_of_three_samples_equally_often(batches: list[int]) -> None:
    # With one row, an off-by-one in the draw shifts these thirds by many standard deviations.
    generator, trials = seeded(0), 1500
    kept = [filled(1, batches, generator).all()[0].item() for _ in range(trials)]
    z = [(kept.count(k) - trials / 3) / math.sqrt(trials * 2 / 9) for k in range(3)]
    assert max(map(abs, z)) < 4.0


def test_keeps_everything_while_it_fits() -> None:
    memory = filled(10, [3, 4], seeded(0))
    (stored,), tasks = memory.all(), memory.tasks()
    assert stored.tolist() == list(range(7))
    assert tasks.tolist() == [0] * 3 + [1] * 4
    assert len(memory) == 7


def test_counts_say_which_task_each_sample_is_of() -> None:
    memory = filled(20, [30, 30, 30], seeded(1))
    (stored,), tasks = memory.all(), memory.tasks()
    assert torch.equal(tasks, stored // 30)
    assert memory.counts() == {t: int((stored // 30 == t).sum()) for t in range(3)}
    assert sum(memory.counts().values()) == len(memory) == 20
    assert memory.samples_seen == 90
    assert ReservoirMemory(3).counts() == {}


def test_columns_stay_together() -> None:
    memory = ReservoirMemory(8, generator=seeded(2))
    for start in range(0, 60, 7):
        x = torch.arange(start, start + 7)
        memory.add((x.float().view(-1, 1).expand(-1, 3), x * 10), task=0)
    x, y = memory.sample(8)
    assert torch.equal(x[:, 0] * 10, y.float())
    assert (x == x[:, :1]).all()


def test_draws_are_distinct_contiguous_and_uniform_over_the_whole_memory() -> None:
    memory, drawn = filled(12, [12], seeded(3)), torch.zeros(12)
    trials = 2000
    for _ in range(trials):
        (sample,) = memory.sample(4)
        assert len(sample.unique()) == 4
        assert sample.is_contiguous()
        drawn[sample] += 1
    z = (drawn - trials / 3) / math.sqrt(trials * (1 / 3) * (2 / 3))
    assert z.abs().max() < 4.0
    assert memory.sample(100)[0].sort().values.tolist() == list(range(12))


def test_a_draw_is_a_copy() -> None:
    memory = filled(4, [4], seeded(0))
    memory.sample(4)[0].fill_(99)
    assert memory.all()[0].tolist() == [0, 1, 2, 3]


def test_state_goes_on_where_it_was() -> None:
    first = filled(6, [9, 5], seeded(4))
    second = ReservoirMemory(6, generator=seeded(99))
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    for memory in (first, second):
        memory.add((torch.arange(100, 120),), task=2)
    assert torch.equal(first.all()[0], second.all()[0])
    assert first.counts() == second.counts()
    assert torch.equal(first.sample(3)[0], second.sample(3)[0])


@pytest.fixture
def dirty_memory():
    """Make torch fill tensors without content with NaN, not with what happens to be there."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("dirty_memory")
def test_unused_rows_are_zero_so_that_files_are_reproducible() -> None:
    assert torch.empty(3).isnan().all()
    memory = filled(1000, [3], seeded(0))
    (column,) = memory.state_dict()["storage"]["columns"]
    assert column.shape == (1000,)
    assert not column[3:].any()


def test_errors() -> None:
    with pytest.raises(ValueError, match="capacity is 0"):
        ReservoirMemory(0)
    memory = filled(4, [2], seeded(0))
    with pytest.raises(ValueError, match=r"shape \[\(3,\)\].*holds \[\(\)\]"):
        memory.add((torch.zeros(2, 3),), task=0)
    with pytest.raises(ValueError, match="memory is empty"):
        ReservoirMemory(4).sample(2)
