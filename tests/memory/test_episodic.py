"""Shares, eviction and reference draws of the episodic memory."""

from __future__ import annotations

import math

import pytest
import torch

from insituml.memory import EpisodicMemory, EpisodicMemoryDataset


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task_samples(task: int, count: int = 50) -> tuple[torch.Tensor, ...]:
    """Numbers that tell their task: 1000 · task + place."""
    x = 1000 * task + torch.arange(count)
    return x, -x


def filled(size: int, tasks: int, stored: int, reference: int = 0, seed: int = 0) -> EpisodicMemory:
    memory = EpisodicMemory(size, tasks, reference, generator=seeded(seed))
    for task in range(stored):
        memory.store_task(task_samples(task))
    return memory


def test_tasks_share_the_capacity_and_no_row_is_left_over() -> None:
    assert filled(12, 3, 3).counts() == {0: 4, 1: 4, 2: 4}
    uneven = filled(11, 3, 3)
    assert sorted(uneven.counts().values()) == [3, 4, 4]
    assert len(uneven) == 11
    assert filled(12, 3, 2).counts() == {0: 4, 1: 4}


def test_a_further_task_evicts_the_oldest_only() -> None:
    memory = filled(12, 3, 3)
    before = memory.all()[0]
    memory.store_task(task_samples(3))
    after = memory.all()[0]
    assert memory.counts() == {1: 4, 2: 4, 3: 4}
    assert torch.equal(after[:8], before[4:])  # oldest first, untouched
    assert (after[8:] // 1000 == 3).all()
    assert memory.tasks_seen == 4
    assert filled(12, 3, 8).counts() == {5: 4, 6: 4, 7: 4}


def test_stores_a_uniform_choice_without_repetition() -> None:
    generator, kept, trials = seeded(0), torch.zeros(20), 1500
    for _ in range(trials):
        memory = EpisodicMemory(5, 1, generator=generator)
        memory.store_task(task_samples(0, 20))
        x, y = memory.all()
        assert len(x.unique()) == 5
        assert torch.equal(y, -x)
        kept[x] += 1
    z = (kept - trials / 4) / math.sqrt(trials * (1 / 4) * (3 / 4))
    assert z.abs().max() < 4.0


def test_a_small_task_is_stored_whole() -> None:
    memory = EpisodicMemory(12, 3)
    memory.store_task(task_samples(0, 2))
    memory.store_task(task_samples(1, 50))
    assert memory.counts() == {0: 2, 1: 4}
    assert sorted(memory.all()[0][:2].tolist()) == [0, 1]


def test_a_smaller_task_in_an_evicted_slot_shows_no_old_rows() -> None:
    memory = filled(6, 2, 2)
    memory.store_task(task_samples(2, 1))
    assert memory.counts() == {1: 3, 2: 1}
    assert set((memory.all()[0] // 1000).tolist()) == {1, 2}


def test_reference_is_a_uniform_draw_from_all_tasks() -> None:
    memory = filled(12, 3, 3, reference=5)
    stored = memory.all()[0]
    drawn, trials = dict.fromkeys(stored.tolist(), 0), 1500
    for _ in range(trials):
        x, y = memory.reference()
        assert len(x.unique()) == 5
        assert torch.equal(y, -x)
        for value in x.tolist():
            drawn[value] += 1
    p = 5 / 12
    z = (torch.tensor(list(drawn.values())) - trials * p) / math.sqrt(trials * p * (1 - p))
    assert z.abs().max() < 4.0


def test_reference_size_zero_is_everything() -> None:
    memory = filled(12, 3, 3)
    assert torch.equal(memory.reference()[0], memory.all()[0])
    assert len(filled(12, 3, 3, reference=100).reference()[0]) == 12
    assert len(memory.reference_of_one_task()[0]) == 4


def test_reference_of_one_task_is_of_one_task_and_covers_all() -> None:
    memory = filled(12, 3, 5, reference=2)  # tasks 2, 3, 4 are left
    seen: dict[int, int] = {}
    for _ in range(600):
        x, _ = memory.reference_of_one_task()
        assert len(x.unique()) == 2
        (task,) = (x // 1000).unique().tolist()
        seen[task] = seen.get(task, 0) + 1
    assert set(seen) == {2, 3, 4}
    assert min(seen.values()) > 150  # 200 ± 4 · 11.5


def test_same_generator_same_choice() -> None:
    assert torch.equal(filled(12, 3, 4, seed=5).all()[0], filled(12, 3, 4, seed=5).all()[0])
    assert not torch.equal(filled(12, 3, 4, seed=5).all()[0], filled(12, 3, 4, seed=6).all()[0])


def test_state_goes_on_where_it_was() -> None:
    first = filled(11, 3, 4, reference=3)
    second = EpisodicMemory(11, 3, 3, generator=seeded(77))
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    for memory in (first, second):
        memory.store_task(task_samples(4))
    assert first.counts() == second.counts()
    assert torch.equal(first.all()[0], second.all()[0])
    assert torch.equal(first.reference()[1], second.reference()[1])


def test_loaded_state_is_a_copy() -> None:
    first = filled(4, 1, 1)
    second = EpisodicMemory(4, 1)
    second.load_state_dict(first.state_dict())
    first.store_task(task_samples(9))
    assert (second.all()[0] < 1000).all()


@pytest.fixture
def dirty_memory():
    """Make torch fill tensors without content with NaN, not with what happens to be there."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("dirty_memory")
def test_unused_rows_are_zero_so_that_files_are_reproducible() -> None:
    assert torch.empty(3).isnan().all()
    for column in filled(3000, 3, 1).state_dict()["storage"]["columns"]:
        assert not column[50:].any()


def test_dataset() -> None:
    memory = filled(12, 3, 2)
    dataset = EpisodicMemoryDataset(memory)
    assert len(dataset) == 8
    x, y = dataset[3]
    assert y == -x == memory.all()[1][3]
    memory.store_task(task_samples(2))
    assert len(dataset) == 8


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((12, 0), "total_tasks is 0"),
        ((12,), "total_tasks is None; expected 1 or more"),
        ((2, 3), "total_mem_size is 2 for 3 tasks"),
        ((12, 3, -1), "gradient_ref_data_size is -1"),
    ],
)
def test_constructor_errors(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodicMemory(*arguments)


@pytest.mark.parametrize(
    "use",
    [
        EpisodicMemoryDataset,
        EpisodicMemory.all,
        EpisodicMemory.reference,
        EpisodicMemory.reference_of_one_task,
    ],
)
def test_an_empty_memory_says_so(use) -> None:
    with pytest.raises(ValueError, match="memory is empty"):
        use(EpisodicMemory(12, 3))


def test_samples_of_another_shape_are_refused() -> None:
    memory = filled(12, 3, 1)
    with pytest.raises(ValueError, match="one memory per stream"):
        memory.store_task((torch.zeros(5, 2), torch.zeros(5)))
    with pytest.raises(ValueError, match="one memory per stream"):
        memory.store_task((torch.zeros(5),))


def test_a_budget_in_bytes_is_shared_among_the_tasks() -> None:
    row = 2 * 8 + EpisodicMemory.row_overhead
    memory = EpisodicMemory(None, 3, capacity_bytes=7 * row + 1)
    for task in range(3):
        memory.store_task(task_samples(task))
    assert memory.counts() == {0: 2, 1: 2, 2: 3}
    with pytest.raises(ValueError, match="total_mem_size is 2 for 3 tasks"):
        EpisodicMemory(None, 3, capacity_bytes=2 * row).store_task(task_samples(0))


def test_task_numbers_may_have_gaps() -> None:
    memory = EpisodicMemory(6, 2)
    for task in (0, 2, 5):
        memory.finish_task(task_samples(task), task)
    assert memory.counts() == {2: 3, 5: 3}
    assert (memory.reference_of(5)[0] // 1000 == 5).all()
