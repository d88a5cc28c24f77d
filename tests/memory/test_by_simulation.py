"""Shares of simulations, and who is chosen within one."""

from __future__ import annotations

import pytest
import torch

from insituml.memory import SimulationMemory


def offer(memory: SimulationMemory, simulation: int, first: int, count: int, task: int = 0) -> None:
    memory.of_simulation(simulation)
    memory.add((torch.arange(first, first + count),), task)


def filled(seed: int, capacity: int = 12) -> SimulationMemory:
    """Three simulations, of which one sends ten times as much, and one comes late."""
    memory = SimulationMemory(capacity, generator=torch.Generator().manual_seed(seed))
    for part in range(10):
        offer(memory, 0, 10 * part, 10, task=part // 5)
        offer(memory, 1, 1000 + part, 1, task=part // 5)
        if part >= 6:
            offer(memory, 2, 2000 + 3 * part, 3, task=part // 5)
    return memory


def test_shares_are_equal_whatever_each_sends_and_tasks_are_known() -> None:
    memory = filled(0)
    simulations, (values,) = memory.simulations(), memory.all()
    assert simulations.bincount().tolist() == [4, 4, 4]
    assert torch.equal(simulations, values // 1000)
    assert set(memory.counts()) <= {0, 1}
    late = memory.tasks()[simulations == 2]
    assert late.tolist() == [1] * 4


def test_within_a_simulation_all_it_sent_is_stored_equally_often() -> None:
    """Each of 100, 10 and 12 samples has probability 4/100, 4/10, 4/12: chi-squared, 5 sigma."""
    runs = 150
    counts = torch.zeros(3000)
    for seed in range(runs):
        counts[filled(seed).all()[0]] += 1
    for first, sent in ((0, 100), (1000, 10), (2018, 12)):
        seen, expected = counts[first : first + sent], runs * 4 / sent
        # 4 of n are drawn without replacement: (n − 1) degrees, each of variance p (1 − p) n/(n−1).
        scale = expected * (1 - 4 / sent) * sent / (sent - 1)
        statistic = float(((seen - expected) ** 2 / scale).sum())
        assert statistic < (sent - 1) + 5 * (2 * (sent - 1)) ** 0.5
    assert counts.sum() == 12 * runs


def test_one_bound_in_bytes_holds_for_all_and_states_go_on_alike() -> None:
    memory = SimulationMemory(capacity_bytes=10 * (8 + 16) + 7)
    for simulation in range(4):
        offer(memory, simulation, 1000 * simulation, 50)
    assert memory.capacity == 10
    assert memory.simulations().bincount().tolist() == [3, 3, 2, 2]
    restored = SimulationMemory(capacity_bytes=10 * (8 + 16) + 7)
    restored.load_state_dict(memory.state_dict())
    restored.generator.set_state(memory.generator.get_state())
    for one in (memory, restored):
        offer(one, 4, 4000, 50)
    assert torch.equal(memory.all()[0], restored.all()[0])
    assert torch.equal(memory.simulations(), restored.simulations())


@pytest.mark.parametrize("capacity", [1, 2])
def test_more_simulations_than_rows_is_no_fault(capacity) -> None:
    memory = SimulationMemory(capacity)
    for simulation in range(4):
        offer(memory, simulation, 1000 * simulation, 5)
    assert len(memory) == capacity
