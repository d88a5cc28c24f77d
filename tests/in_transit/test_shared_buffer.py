"""A buffer that simulations share, against a list that says the same in words."""

from __future__ import annotations

import random

import pytest
import torch

from insituml.in_transit import NowBuffer, SharedBuffer


def numbered(first: int, count: int) -> tuple[torch.Tensor, ...]:
    return (torch.arange(first, first + count),)


@pytest.mark.parametrize("seed", range(4))
def test_the_oldest_of_who_holds_most_goes_first(seed) -> None:
    rng = random.Random(seed)
    buffer, expected, sent = SharedBuffer(8), [], 0
    for _ in range(40):
        simulation, count = rng.choice([0, 0, 0, 0, 1, 2]), rng.choice([1, 2])
        buffer.simulation, gone = simulation, []
        while sum(len(numbers) for _, numbers in expected) + count > 8:
            held = {s: sum(len(n) for t, n in expected if t == s) for s in range(3)}
            held[simulation] += count
            most = max(held[s] for s, _ in expected)
            oldest = next(entry for entry in expected if held[entry[0]] == most)
            expected.remove(oldest)
            gone.append(oldest)
        expected.append((simulation, list(range(sent, sent + count))))
        (left,) = buffer.add(numbered(sent, count))
        assert left.tolist() == [number for _, numbers in gone for number in numbers]
        assert buffer.left == [(s, len(numbers)) for s, numbers in gone]
        sent += count
        held = [number for _, numbers in expected for number in numbers]
        assert buffer.state_dict()["columns"][0].tolist() == held
        assert len(buffer) == len(held)


def test_one_that_sends_ten_times_as_much_holds_no_more() -> None:
    buffer = SharedBuffer(12)
    for part in range(30):
        for simulation, times in ((0, 10), (1, 1), (2, 1)):
            for _ in range(times):
                buffer.simulation = simulation
                buffer.add(numbered(part, 2))
    assert buffer.counts() == {0: 4, 1: 4, 2: 4}


def test_of_one_simulation_it_is_first_in_first_out_with_the_same_draws() -> None:
    plain, shared = NowBuffer(7), SharedBuffer(7)
    draws = [torch.Generator().manual_seed(5) for _ in range(2)]
    for k in range(9):
        for buffer in (plain, shared):
            buffer.add(numbered(k, 1))
        both = [b.draw(5, generator=g)[0] for b, g in zip((plain, shared), draws, strict=True)]
        assert torch.equal(*both)
    restored = SharedBuffer(7)
    restored.load_state_dict(shared.state_dict())
    again = [b.draw(9, generator=torch.Generator().manual_seed(1))[0] for b in (shared, restored)]
    assert torch.equal(*again)
    assert torch.equal(shared.release(2)[0], plain.release(2)[0])
    assert shared.left == [(0, 1), (0, 1)]


def test_memory_is_allocated_once() -> None:
    buffer = SharedBuffer(4)
    for k in range(9):
        buffer.simulation = k % 3
        buffer.add(numbered(k, 1))
        assert buffer.bytes == 4 * 8
