"""What is stored comes back with its values, or is refused: nothing is cast in silence."""

from __future__ import annotations

import itertools

import pytest
import torch

from insituml.data.task import Task, concatenated, exactly, joined
from insituml.in_transit.now_buffer import NowBuffer
from insituml.memory import (
    EpisodicMemory,
    HerdingMemory,
    LossAwareMemory,
    QuotaMemory,
    ReservoirMemory,
    RingMemory,
)
from insituml.methods import Cumulative, Joint

KINDS = {
    "reservoir": lambda: ReservoirMemory(8),
    "ring": lambda: RingMemory(8),
    "quota": lambda: QuotaMemory(8),
    "loss": lambda: LossAwareMemory(8),
    "episodic": lambda: EpisodicMemory(8, 2),
    "herding": lambda: HerdingMemory(8),
}
VALUES = {
    torch.bool: [0, 1], torch.uint8: [200, 10], torch.int8: [-100, 3], torch.int16: [-30000, 7],
    torch.int64: [2**62 + 1, -5], torch.float16: [0.1, 6e4], torch.bfloat16: [0.1, 1e30],
    torch.float32: [0.1, float("nan")], torch.float64: [0.1, 1e300], torch.complex64: [1 + 2j, 0.1],
}  # fmt: skip


def sample(dtype: torch.dtype) -> tuple[torch.Tensor]:
    return (torch.tensor([VALUES[dtype]]).to(dtype),)


def offer(memory, samples, task: int) -> None:
    memory.add(samples, task, torch.ones(len(samples[0])))
    memory.finish_task(samples, task, torch.ones(len(samples[0]), 2))


def equal(stored: torch.Tensor, given: torch.Tensor) -> bool:
    """Compare as Python numbers, which are exact: integers of any size, and floats of 64 bits."""
    pairs = zip(stored.flatten().tolist(), given.flatten().tolist(), strict=True)
    return all(a == b or (a != a and b != b) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_another_dtype_keeps_its_values_or_is_refused(kind: str) -> None:
    refused = 0
    for first, later in itertools.product(VALUES, VALUES):
        memory = KINDS[kind]()
        offer(memory, sample(first), 0)
        try:
            offer(memory, sample(later), 1)
        except ValueError as error:
            refused += 1
            assert f"{later} arrived where {first} is stored" in str(error)  # noqa: PT017
            assert first != later
            assert len(memory) == 1
            assert equal(memory.all()[0][0], sample(first)[0])
            continue
        (stored,) = memory.all()
        assert stored.dtype == first
        assert equal(stored[0], sample(first)[0])
        assert equal(stored[1], sample(later)[0])
    assert 30 < refused < 90


def test_parts_of_several_dtypes_are_joined_exactly_or_refused() -> None:
    for first, later in itertools.product(VALUES, VALUES):
        a, b = sample(first), sample(later)
        try:
            (both,) = joined(a, b)
        except ValueError as error:
            assert str(first) in str(error) or str(later) in str(error)  # noqa: PT017
            continue
        assert equal(both[0], a[0])
        assert equal(both[1], b[0])
        assert both.dtype == torch.promote_types(first, later)


@pytest.mark.parametrize("method", [Joint, Cumulative])
def test_methods_that_keep_all_data_keep_its_values(method) -> None:
    first, later = (torch.tensor([[200]], dtype=torch.uint8),), (torch.tensor([[0.8]]),)
    tasks = [Task(0, "0", first, first), Task(1, "1", later, later)]
    *_, (last, _) = method(generator=torch.Generator()).schedule(tasks, 2)
    assert torch.equal(last.train[0], torch.tensor([[200.0], [0.8]]))
    tasks[1] = Task(1, "1", (torch.zeros(1, 2),), later)
    with pytest.raises(ValueError, match=r"shapes \[\(2,\)\] cannot follow .* \[\(1,\)\]"):
        list(method(generator=torch.Generator()).schedule(tasks, 2))


def test_a_buffer_in_transit_casts_nothing() -> None:
    buffer = NowBuffer(4)
    buffer.add((torch.tensor([[200]], dtype=torch.uint8),))
    buffer.add((torch.tensor([[3.0]]),))
    with pytest.raises(ValueError, match=r"torch\.float32 arrived where torch\.uint8"):
        buffer.add((torch.tensor([[0.8]]),))
    assert buffer.release(4)[0].tolist() == [[200], [3]]


def test_promotion_is_by_value() -> None:
    assert concatenated([torch.tensor([1]), torch.tensor([0.5])]).tolist() == [1.0, 0.5]
    with pytest.raises(ValueError, match="int64"):
        concatenated([torch.tensor([2**24 + 1]), torch.tensor([0.5])])
    assert exactly(torch.tensor([1.0, 2.0]), torch.int64).tolist() == [1, 2]
    with pytest.raises(ValueError, match="float32"):
        exactly(torch.tensor([float("inf")]), torch.int64)


@pytest.mark.parametrize("capacity", [0, -1, 1.5, 4.0, True, "4", float("nan"), None, 10**15])
def test_capacities_that_are_none(capacity) -> None:
    with pytest.raises(ValueError, match="capacity"):
        ReservoirMemory(capacity).add((torch.zeros(1, 1000, dtype=torch.float64),), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_copied_without_their_graph(kind: str) -> None:
    base = torch.arange(12.0).view(3, 4).requires_grad_()
    samples = ((2 * base).t()[:, 1:],)
    expected = samples[0].detach().clone()
    memory = KINDS[kind]()
    offer(memory, samples, 0)
    with torch.no_grad():
        samples[0].zero_()
    (stored,) = memory.all()
    assert not stored.requires_grad
    rows = sorted(map(tuple, expected.tolist()))
    assert sorted(map(tuple, stored.tolist()))[: len(stored)] in [
        list(part) for part in itertools.combinations(rows, len(stored))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_other_lengths_or_number_are_refused(kind: str) -> None:
    memory = KINDS[kind]()
    offer(memory, (torch.zeros(2, 3), torch.zeros(2)), 0)
    wrong = ((torch.zeros(2, 3), torch.zeros(1)), (torch.zeros(2, 3),), (torch.zeros(2, 4),))
    for task, samples in enumerate(wrong, 1):
        with pytest.raises(ValueError, match=r"samples"):
            offer(memory, samples, task)
