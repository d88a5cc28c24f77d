"""What defines each kind of memory: ring, quota, herding, loss-aware."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch

from insituml.memory import HerdingMemory, LossAwareMemory, QuotaMemory, RingMemory
from insituml.memory.equal_shares import equal_shares
from insituml.memory.herding import herd, nearest


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(memory) -> list[int]:
    return sorted(memory.all()[0].tolist())


# Ring


@pytest.mark.parametrize("batches", [[1] * 30, [3, 7, 2, 9, 4], [25, 4], [5, 5, 5], [6, 18]])
def test_a_ring_holds_exactly_the_last_samples(batches: list[int]) -> None:
    memory, start = RingMemory(6), 0
    for size in batches:
        memory.add((torch.arange(start, start + size),), task=start)
        start += size
        assert numbers(memory) == list(range(max(0, start - 6), start))
    (stored,), tasks = memory.all(), memory.tasks()
    starts = list(itertools.accumulate([0, *batches[:-1]]))
    assert tasks.tolist() == [max(s for s in starts if s <= n) for n in stored.tolist()]


# Quota


def test_equal_shares_fill_the_capacity_and_never_grow() -> None:
    for capacity in (1, 5, 12, 100):
        for tasks in range(1, 14):
            shares = equal_shares(capacity, tasks)
            assert sum(shares) == capacity
            assert max(shares) - min(shares) <= 1
            assert shares == sorted(shares, reverse=True)
            more = equal_shares(capacity, tasks + 1)[:tasks]
            assert all(a >= b for a, b in zip(shares, more, strict=True))


def test_shares_are_exact_after_every_batch() -> None:
    memory, seen = QuotaMemory(11, generator=seeded(0)), Counter()
    # Tasks of very different length, which come back.
    stream = [(0, 50), (0, 3), (7, 2), (7, 30), (3, 1), (0, 4), (3, 40), (5, 6), (7, 5), (5, 1)]
    for task, count in stream:
        memory.add((1000 * task + seen[task] + torch.arange(count),), task)
        seen[task] += count
        shares = dict(zip(seen, equal_shares(11, len(seen)), strict=True))
        assert memory.counts() == {t: min(shares[t], seen[t]) for t in sorted(seen)}
        (stored,), tasks = memory.all(), memory.tasks()
        assert torch.equal(stored // 1000, tasks)
        assert len(stored.unique()) == len(stored) == len(memory)
        assert all(stored[tasks == t].max() < 1000 * t + n for t, n in seen.items())


def test_more_tasks_than_rows_leave_the_last_ones_out() -> None:
    memory = QuotaMemory(3, generator=seeded(0))
    for task in range(5):
        memory.add((torch.full((4,), task),), task)
    assert memory.counts() == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_within_a_task_every_sample_is_kept_with_equal_probability(batch: int) -> None:
    # Task 0 comes back when the others have begun; its share shrinks from 10 to 4.
    stream = [(0, 0, 8), (1, 0, 15), (2, 0, 7), (0, 8, 13), (2, 7, 12)]
    lengths, trials, generator = {0: 13, 1: 15, 2: 12}, 700, seeded(0)
    kept = {task: torch.zeros(n) for task, n in lengths.items()}
    for _ in range(trials):
        memory = QuotaMemory(10, generator=generator)
        for task, start, end in stream:
            for places in torch.arange(start, end).split(batch):
                memory.add((places,), task)
        (stored,), tasks = memory.all(), memory.tasks()
        for task in lengths:
            kept[task][stored[tasks == task]] += 1
    for task, share in {0: 4, 1: 3, 2: 3}.items():
        p = share / lengths[task]
        z = (kept[task] - trials * p) / math.sqrt(trials * p * (1 - p))
        assert z.abs().max() < 4.0


# Herding


def naive_herding(features: torch.Tensor, count: int) -> list[int]:
    """Algorithm 4 of iCaRL as printed, each candidate's mean formed anew."""
    mean, chosen = features.mean(dim=0), []
    for _ in range(count):
        distance = {
            k: (mean - features[[*chosen, k]].mean(dim=0)).norm().item()
            for k in range(len(features))
            if k not in chosen
        }
        chosen.append(min(distance, key=distance.__getitem__))
    return chosen


@pytest.mark.parametrize("offset", [0.0, 50.0])
@pytest.mark.parametrize("count", [1, 7, 30])
def test_herding_is_the_greedy_loop(count: int, offset: float) -> None:
    features = offset + torch.randn(30, 4, dtype=torch.float64, generator=seeded(1))
    assert herd(features, count).tolist() == naive_herding(features, count)


def test_herding_follows_the_mean_better_than_chance() -> None:
    features = torch.randn(500, 8, generator=seeded(2)) * torch.arange(1, 9) + 3

    def error(rows) -> float:
        return (features[rows].mean(dim=0) - features.mean(dim=0)).norm().item()

    chance = [error(torch.randperm(500, generator=seeded(k))[:40]) for k in range(20)]
    assert error(herd(features, 40)) < 0.2 * sum(chance) / 20


def test_nearest_are_those_with_the_smallest_distances() -> None:
    features = torch.randn(30, 4, dtype=torch.float64, generator=seeded(3))
    distance = [(f - features.mean(dim=0)).norm().item() for f in features]
    assert nearest(features, 6).tolist() == sorted(range(30), key=distance.__getitem__)[:6]
    assert nearest(features, 6).tolist() != herd(features, 6).tolist()


@pytest.mark.parametrize("selection", ["herding", "nearest"])
def test_earlier_tasks_keep_their_best_exemplars(selection: str) -> None:
    choose = {"herding": naive_herding, "nearest": lambda f, n: nearest(f, n).tolist()}[selection]
    memory = HerdingMemory(13, selection=selection)
    features = [torch.randn(n, 3, dtype=torch.float64, generator=seeded(n)) for n in (20, 9, 3, 30)]
    for task, rows in enumerate(features):
        memory.finish_task((100 * task + torch.arange(len(rows)),), task, rows)
        (stored,), tasks = memory.all(), memory.tasks()
        shares = equal_shares(13, task + 1)
        for earlier in range(task + 1):
            # What would have been chosen for this smaller share in the first place.
            count = min(shares[earlier], len(features[earlier]))
            expected = [100 * earlier + k for k in choose(features[earlier], count)]
            assert stored[tasks == earlier].tolist() == expected
    assert memory.counts() == {0: 4, 1: 3, 2: 3, 3: 3}


def test_herding_takes_features_of_any_shape_and_precision() -> None:
    features = torch.randn(20, 2, 3, generator=seeded(4)).half() + 100
    memory = HerdingMemory(5)
    memory.finish_task((torch.arange(20),), 0, features)
    expected = naive_herding(features.double().flatten(1), 5)
    assert memory.all()[0].tolist() == expected


def test_herding_errors() -> None:
    memory = HerdingMemory(5)
    x = (torch.zeros(4, 2),)
    with pytest.raises(ValueError, match="features are None for 4 samples; expected one row each"):
        memory.finish_task(x, 0)
    with pytest.raises(ValueError, match=r"features are \(3, 2\) for 4 samples"):
        memory.finish_task(x, 0, torch.zeros(3, 2))
    memory.finish_task(x, 0, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="task 0 was finished before"):
        memory.finish_task(x, 0, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="selection is 'best'; expected one of herding, nearest"):
        HerdingMemory(5, selection="best")


# Loss-aware


def inclusion(weights: list[float], capacity: int) -> list[float]:
    """Exact probabilities that each item is among ``capacity`` successive weighted draws."""
    total = [0.0] * len(weights)
    for order in itertools.permutations(range(len(weights)), capacity):
        p, left = 1.0, sum(weights)
        for item in order:
            p *= weights[item] / left
            left -= weights[item]
        for item in order:
            total[item] += p
    return total


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("batches", [[1] * 5, [2, 3], [5], [4, 1]], ids=str)
def test_inclusion_follows_the_losses(batches: list[int], exponent: float) -> None:
    losses = torch.tensor([0.5, 3.0, 1.0, 0.25, 2.0])
    trials, generator, kept = 1500, seeded(0), torch.zeros(5)
    for _ in range(trials):
        memory = LossAwareMemory(2, exponent=exponent, generator=generator)
        for places in torch.arange(5).split(batches):
            memory.add((places,), 0, losses[places])
        (stored,) = memory.all()
        assert len(stored.unique()) == 2
        kept[stored] += 1
    p = torch.tensor(inclusion(losses.pow(exponent).tolist(), 2))
    assert abs(float(p.sum()) - 2) < 1e-6
    z = (kept - trials * p) / (trials * p * (1 - p)).sqrt()
    assert z.abs().max() < 4.0


def test_a_loss_of_zero_is_stored_only_while_there_is_room() -> None:
    memory = LossAwareMemory(3, generator=seeded(0))
    memory.add((torch.arange(3),), 0, torch.zeros(3))
    assert numbers(memory) == [0, 1, 2]
    memory.add((torch.arange(10, 12),), 1, torch.tensor([1e-6, 1e-3]))
    assert {10, 11} < set(numbers(memory))
    memory.add((torch.arange(20, 24),), 1, torch.zeros(4))
    assert {10, 11} < set(numbers(memory))


@pytest.mark.parametrize(
    "losses, message",
    [
        (None, "losses are None for 2 samples"),
        (torch.ones(3), r"losses are \(3,\) for 2 samples"),
        (torch.tensor([0.5, -1.0]), r"lie between -1\.0 and 0\.5; expected finite numbers of 0"),
        (torch.tensor([0.5, float("nan")]), "lie between nan and nan"),
        (torch.tensor([0.5, float("inf")]), "and inf"),
    ],
)
def test_losses_must_be_numbers_of_zero_or_more(losses, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossAwareMemory(3).add((torch.arange(2),), 0, losses)


def test_loss_aware_exponent() -> None:
    with pytest.raises(ValueError, match="exponent is -1"):
        LossAwareMemory(3, exponent=-1)
