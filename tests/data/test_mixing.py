"""Samples mixed with their neighbours in time, against a plain loop over samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from insituml.data.mixing import IterationMixing
from insituml.data.task import Task
from insituml.in_transit.now_buffer import NowBuffer
from insituml.learner import ContinualLearner
from insituml.methods import Cumulative, ExperienceReplay, IncrementalPCA, Method, Naive
from insituml.models import MLP, PrincipalComponents
from insituml.training import train

PLACES, ITERATIONS = 3, 5


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def field(iterations: int = ITERATIONS, first: int = 0) -> tuple[Tensor, Tensor]:
    """Return samples that say, in the first and the second number, iteration and place."""
    numbers = [(first + k, place) for k in range(iterations) for place in range(PLACES)]
    inputs = torch.tensor(numbers, dtype=torch.float64)
    return inputs, torch.arange(len(inputs)) + 100 * first


@pytest.mark.parametrize("reach", [1, 2, 7])
def test_partners_are_of_the_same_place_and_within_reach(reach: int) -> None:
    mix, count = IterationMixing(reach, PLACES), PLACES * ITERATIONS
    rows = torch.arange(count).repeat(4000)
    partners, weights = mix.draw(rows, count, generator=seeded(0))
    pairs = torch.stack([rows, partners]).T.tolist()
    for row in range(count):
        iteration, place = divmod(row, PLACES)
        found = [other for own, other in pairs if own == row]
        assert all(other % PLACES == place for other in found)
        shares = np.bincount([other // PLACES for other in found], minlength=ITERATIONS) / 4000
        expected = np.zeros(ITERATIONS)
        for offset in range(-reach, reach + 1):
            if offset:
                expected[min(max(iteration + offset, 0), ITERATIONS - 1)] += 1 / (2 * reach)
        # Five standard deviations of a share at most.
        np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / 4000**0.5)
    # Kolmogorov–Smirnov distance from the uniform distribution; larger by chance once in 10⁶.
    ordered = weights.double().sort().values
    steps = torch.arange(1, len(ordered) + 1, dtype=torch.float64) / len(ordered)
    assert float((ordered - steps).abs().max()) < 2.7 / len(ordered) ** 0.5
    assert 0 <= float(ordered[0]) < float(ordered[-1]) < 1


def test_a_batch_is_what_a_plain_loop_makes_of_the_same_draws() -> None:
    mix, (inputs, labels) = IterationMixing(2, PLACES), field()
    inputs = torch.randn(len(inputs), 2, 4, generator=seeded(1), dtype=torch.float64)
    rows = torch.tensor([14, 0, 7, 8, 2, 2])
    before = inputs.clone()
    mixed, own = mix.randomly(
        (inputs[rows], labels[rows]), rows, len(inputs), lambda r: inputs[r], generator=seeded(2)
    )
    partners, weights = mix.draw(rows, len(inputs), generator=seeded(2))
    for k, (row, other) in enumerate(zip(rows.tolist(), partners.tolist(), strict=True)):
        share = float(weights[k])
        for i in range(2):
            for j in range(4):
                expected = (1 - share) * float(inputs[row, i, j]) + share * float(
                    inputs[other, i, j]
                )
                assert float(mixed[k, i, j]) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert torch.equal(own, labels[rows])
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("reach", [1, 2])
def test_of_samples_stored_each_in_reach_is_as_likely_as_the_others(reach: int) -> None:
    mix, draws = IterationMixing(reach, PLACES), 3000
    stored = torch.tensor([4, 13, 0, 7, 10, 1, 3, 12])  # in no order; places 1, 1, 0, 1, 1, 1, 0, 0
    rows = torch.arange(len(stored)).repeat(draws)
    partners, weights = mix.draw_stored(rows, stored, generator=seeded(0))
    for row, number in enumerate(stored.tolist()):
        in_reach = [
            other
            for other, candidate in enumerate(stored.tolist())
            if candidate % PLACES == number % PLACES
            and 0 < abs(candidate // PLACES - number // PLACES) <= reach
        ]
        found = partners[rows == row]
        expected = in_reach or [row]
        assert set(found.tolist()) == set(expected)
        for other in expected:
            share = float((found == other).double().mean())
            # Five standard deviations of a share at most.
            assert share == pytest.approx(1 / len(expected), abs=5 * 0.5 / draws**0.5)
    assert 0 <= float(weights.min()) < 0.01 < 0.99 < float(weights.max()) < 1


class Watching(Naive):
    """Notes what is trained on, and what it is shown."""

    def __init__(self) -> None:
        super().__init__(generator=seeded(0))
        self.trained: list[Tensor] = []
        self.observed: list[Tensor] = []

    def join(self, learner: ContinualLearner, batch: Any) -> Any:
        self.trained.append(torch.cat([c.double().view(len(c), -1) for c in batch], 1))
        return batch

    def observe(self, learner: ContinualLearner, batch: Any) -> None:
        self.observed.append(torch.cat([c.double().view(len(c), -1) for c in batch], 1))


class WatchingCumulative(Watching, Cumulative):
    """All tasks so far, joined in order."""


class Inputs(MLP):
    """Learns the inputs, whatever the labels."""

    def __init__(self) -> None:
        super().__init__((2,), (4,), 2, generator=seeded(2))
        self.double()
        self.shown: list[Tensor] = []

    def observe(self, batch: Any) -> None:
        self.shown.append(batch[0])


def trained(method: Method, tasks: list[Task], **options: Any) -> Inputs:
    learner = Inputs()
    optimizer = torch.optim.SGD(learner.parameters(), lr=1e-9)
    options = {"epochs": 30, "batch_size": 4, "generator": seeded(4), **options}
    list(train(learner, method, tasks, optimizer, **options))
    return learner


def test_only_what_is_trained_on_is_mixed() -> None:
    inputs, labels = field()
    method = Watching()
    learner = trained(method, [Task(0, "", (inputs, labels), ())], mix=IterationMixing(2, PLACES))
    shown = torch.cat(method.observed)
    assert torch.equal(shown[shown[:, 2].argsort()], torch.column_stack([inputs, labels.double()]))
    assert torch.equal(torch.cat(learner.shown), inputs)
    found = torch.cat(method.trained)
    own = inputs[found[:, 2].long()]  # labels number the samples
    assert torch.equal(found[:, 1], own[:, 1])  # the place stays
    moved = found[:, 0] - own[:, 0]
    assert float(moved.abs().max()) < 2
    assert len(moved.unique()) > 0.7 * len(moved)  # others are the first or the last iteration
    assert bool((found[:, 0] >= 0).all())
    assert bool((found[:, 0] <= ITERATIONS - 1).all())


def test_a_memory_stores_and_replays_samples_as_they_came() -> None:
    inputs, labels = field()
    replayed: list[Tensor] = []

    class Spy(ExperienceReplay):
        def join(self, learner: Any, batch: Any) -> Any:
            together = super().join(learner, batch)
            replayed.append(together[0][len(batch[0]) :])
            return together

    method = Spy(PLACES * ITERATIONS, 3, generator=seeded(3))
    more = field(first=ITERATIONS)
    tasks = [Task(0, "", (inputs, labels), ()), Task(1, "", more, ())]
    trained(method, tasks, mix=IterationMixing(2, PLACES))
    stored = method.memory.all()[0]
    whole = {tuple(row) for row in torch.cat([inputs, more[0]]).tolist()}
    assert {tuple(row) for row in stored.tolist()} <= whole
    assert len(torch.cat(replayed)) > 0
    assert {tuple(row) for row in torch.cat(replayed).tolist()} <= whole


def test_what_learns_tasks_together_mixes_across_their_borders() -> None:
    tasks = [Task(k, "", field(2, first=2 * k), ()) for k in range(2)]
    method = WatchingCumulative()
    trained(method, tasks, epochs=100, mix=IterationMixing(1, PLACES))
    found = torch.cat(method.trained)[:, 0]
    assert bool(((found > 1) & (found < 2)).any())
    method = Watching()
    trained(method, tasks, epochs=100, mix=IterationMixing(1, PLACES))
    found = torch.cat(method.trained)[:, 0]
    assert not bool(((found > 1) & (found < 2)).any())


def test_first_mixed_then_augmented() -> None:
    calls: list[Tensor] = []

    def augment(batch: Any, generator: torch.Generator) -> Any:
        calls.append(batch[0].clone())
        return (batch[0] + 1000, *batch[1:])

    method = Watching()
    tasks = [Task(0, "", field(), ())]
    trained(method, tasks, mix=IterationMixing(2, PLACES), augment=augment)
    found = torch.cat(method.trained)[:, :2]
    assert torch.equal(found, torch.cat(calls) + 1000)
    assert bool((torch.cat(calls)[:, 0] % 1 > 0).any())


def test_where_no_step_is_taken_nothing_is_mixed() -> None:
    losses = []
    for mix in (None, IterationMixing(2, PLACES)):
        learner = PrincipalComponents((2,), 1)
        method, records = IncrementalPCA(generator=seeded(3)), []
        optimizer = torch.optim.SGD(learner.parameters(), lr=1e-3)
        options = {"epochs": 1, "batch_size": 4, "generator": seeded(4)}
        tasks = [Task(0, "", (field()[0].float(),), ())]
        list(train(learner, method, tasks, optimizer, mix=mix, report=records.append, **options))
        losses.append(records[0].losses)
    assert losses[0] == losses[1]


def test_only_the_rows_that_are_needed_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    plain = Tensor.index_select

    def watched(column: Tensor, dim: int, rows: Tensor) -> Tensor:
        read.append(len(rows))
        return plain(column, dim, rows)

    monkeypatch.setattr(Tensor, "index_select", watched)
    inputs, _ = field()
    tasks = [Task(0, "", (inputs,), ())]
    trained(Watching(), tasks, epochs=1, batch_size=4, mix=IterationMixing(2, PLACES))
    assert read == [4, 4, 4, 4, 4, 4, 3, 3]  # a batch, and what it is mixed with


def test_a_buffer_mixes_what_it_holds_by_its_own_order() -> None:
    mix, buffer = IterationMixing(2, PLACES), NowBuffer(4 * PLACES)
    for k in range(7):  # the ring has gone round; iterations 3 to 6 are left
        buffer.add(field(1, first=k))
    resumed = NowBuffer(4 * PLACES)
    resumed.load_state_dict(buffer.state_dict())
    for seed in range(50):
        mixed, labels = buffer.draw(8, generator=seeded(seed), mix=mix)
        inputs, same = buffer.draw(8, generator=seeded(seed))
        assert torch.equal(labels, same)
        assert torch.equal(mixed[:, 1], inputs[:, 1])
        assert float((mixed[:, 0] - inputs[:, 0]).abs().max()) < 2
        assert 3 <= float(mixed[:, 0].min()) <= float(mixed[:, 0].max()) <= 6
        again = resumed.draw(8, generator=seeded(seed), mix=mix)
        assert torch.equal(mixed, again[0])


def test_of_an_iteration_that_a_buffer_holds_in_part_the_same_places_are_mixed() -> None:
    mix, buffer = IterationMixing(3, PLACES), NowBuffer(2 * PLACES + 1)
    for k in range(4):
        buffer.add(field(1, first=k))
    mixed = torch.cat([buffer.draw(7, generator=seeded(s), mix=mix)[0] for s in range(100)])
    assert set(mixed[:, 1].tolist()) == {0.0, 1.0, 2.0}
    # Of iteration 1 the last place alone is left.
    assert float(mixed[mixed[:, 1] < 2][:, 0].min()) >= 2
    assert bool((mixed[mixed[:, 1] == 2][:, 0] < 2).any())


@pytest.mark.parametrize("reach, size", [(0, 3), (2, 0)])
def test_numbers_below_one_are_refused(reach: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"reach is {reach} and samples_per_iteration {size}"):
        IterationMixing(reach, size)


def test_samples_of_no_whole_iterations_are_refused() -> None:
    inputs, labels = field()
    tasks = [Task(0, "first", (inputs, labels), ()), Task(1, "second", (inputs[1:],), ())]
    with pytest.raises(ValueError, match=r"task 1 \(second\) has 14 samples, but whole iterations"):
        trained(Naive(generator=seeded(0)), tasks, mix=IterationMixing(2, PLACES))
