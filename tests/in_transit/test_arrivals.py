"""Which iterations normalise a stream, which wait for that, and what becomes of held-out ones."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from insituml.data import Grid, Samples, Step, TaskWindows
from insituml.data.chunks import assemble
from insituml.data.samples import tasks_by_label
from insituml.in_transit import Arrival, Arrivals, Cutter, HeldOut
from insituml.stream import Description, SampleStream

ITERATIONS = 14
WINDOWS = [range(5), range(5, 10), range(10, 14)]
"""Numbers of the iterations of each task; of these are held out:"""
HELD_OUT = {1, 3, 6, 8, 12}
GRID = Grid((2, 8, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@pytest.fixture
def fields() -> np.ndarray:
    rng = np.random.default_rng(4)
    scale = np.array([1.0, 60.0, 3.0])[:, None, None, None]
    volumes = [scale * (rng.normal(size=(3, 2, 8, 2)) + 0.3 * k) for k in range(ITERATIONS)]
    return np.stack(volumes).astype(np.float32)


def open_arrivals(**options: Any) -> Arrivals:
    description = Description(("Ex", "Ey", "Ez"), "V/m", GRID)
    windows = TaskWindows.in_time(range(0, 100 * ITERATIONS, 100), 3, 0.3)
    cutter = Cutter(description, (1, 4, 2))
    return Arrivals(cutter, windows, HeldOut(3, 10**6, 10**3), **options)


def take(arrivals: Arrivals, fields: np.ndarray, numbers: Iterable[int]) -> list[Arrival]:
    return [
        samples
        for n in numbers
        for samples in arrivals.take(
            Step(100 * n, 1e-15 * n, fields[n], {"grid_origin": (n, 0, 0)})
        )
    ]


@pytest.mark.parametrize("begin", [0, 3, 6, 8, 12])
def test_the_first_task_that_comes_normalises_the_stream(begin, fields) -> None:
    """One may attach to a simulation that has been running for a while."""
    arrivals = open_arrivals()
    found = [*take(arrivals, fields, range(begin, ITERATIONS)), *arrivals.rest()]
    (window,) = [w for w in WINDOWS if begin in w]
    trained = [n for n in window if n >= begin and n not in HELD_OUT]
    expected = fields[trained]
    assert arrivals.normalisation is not None
    np.testing.assert_allclose(arrivals.normalisation.mean, expected.mean(axis=(0, 2, 3, 4)), 1e-5)
    np.testing.assert_allclose(arrivals.normalisation.std, expected.std(axis=(0, 2, 3, 4)), 1e-5)
    assert [samples.iteration // 100 for samples in found] == list(range(begin, ITERATIONS))
    kept = [n // 100 for task in range(3) for n in arrivals.held_out.iterations(task)]
    assert kept == sorted(n for n in HELD_OUT if n >= begin)


def test_a_step_is_held_once_while_it_is_trained_on() -> None:
    arrivals = open_arrivals(normalise_by=1)
    large = replace(GRID, shape=(64, 64, 64))
    arrivals.cutter = Cutter(Description(("Ex", "Ey", "Ez"), "V/m", large), (64, 64, 64))
    steps = [Step(100 * n, 0.0, np.full((3, 64, 64, 64), n, np.float32)) for n in (0, 2)]
    list(arrivals.take(steps[0]))
    tracemalloc.start()
    try:
        arrived = next(arriving := arrivals.take(steps[1]))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert arrived.batch is not None
    assert arriving is not None
    assert held < 1.2 * steps[1].values.nbytes


def test_held_out_iterations_wait_for_one_to_train_on_whatever_its_task(fields) -> None:
    arrivals = open_arrivals()
    assert take(arrivals, fields, [1, 3, 6]) == []
    assert list(arrivals.rest()) == []
    assert arrivals.pending  # so that no resume point leaves them behind
    take(arrivals, fields, [7, 9, 10])
    assert [arrivals.held_out.iterations(task) for task in range(3)] == [[100, 300], [600], []]
    assert not arrivals.pending


@pytest.mark.parametrize(
    "most, waiting", [(None, 5), (1, 1), (2, 3), (3, 5), (4, 5)], ids=lambda value: str(value)
)
def test_how_many_iterations_wait_is_known_before(most, waiting, fields) -> None:
    arrivals = open_arrivals(normalise_by=most)
    assert arrivals.most_waiting == waiting
    for number in range(waiting - 1):
        assert take(arrivals, fields, [number]) == []
    # Where all of the first task is waited for, the next task's first one shows that it is over.
    whole = take(arrivals, fields, [waiting - 1]) or take(arrivals, fields, [waiting])[:-1]
    assert len(whole) == waiting


def test_samples_with_their_places_give_the_field_back(fields) -> None:
    arrivals = open_arrivals(normalise_by=1)
    (first,) = take(arrivals, fields, [0])
    assert take(arrivals, fields, [1])[0].batch is None
    scale = arrivals.normalisation
    assert scale is not None
    assert first.batch is not None
    again = assemble(scale.invert(first.batch[0].numpy()), arrivals.cutter.places, GRID.shape)
    np.testing.assert_allclose(again, fields[0], rtol=1e-5, atol=1e-5)
    (columns,) = arrivals.held_out.samples(0)
    assert (columns["places"][:, 0] == 100).all()
    order = np.random.default_rng(0).permutation(len(columns["places"]))
    volume = assemble(
        scale.invert(columns["inputs"][order]), columns["places"][order, 1:], GRID.shape
    )
    np.testing.assert_allclose(volume, fields[1], rtol=1e-5, atol=1e-5)


def test_time_and_origin_of_each_iteration_are_kept_and_resumed(fields) -> None:
    arrivals = open_arrivals(normalise_by=1)
    take(arrivals, fields, range(7))
    again = open_arrivals(normalise_by=1)
    again.load_state_dict(arrivals.state_dict())
    for one in (arrivals, again):
        assert one.times[300] == pytest.approx(3e-15)
        assert one.origins[300] == (3.0, 0.0, 0.0)
    expected, found = take(arrivals, fields, [7]), take(again, fields, [7])
    assert expected[0].batch is not None
    assert found[0].batch is not None
    assert expected[0].batch[0].equal(found[0].batch[0])


def test_labels_travel_with_their_samples() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    inputs = (labels[:, None] + 0.1 * rng.normal(size=(60, 2))).astype(np.float32)
    samples = Samples(inputs, labels, np.zeros(60, dtype=np.int64))
    tasks = tasks_by_label(samples, [[0, 1], [2, 3]], 0.25, seed=0)
    stream = SampleStream(samples, tasks, rows=7)
    description = stream.describe()
    assert description.samples is not None
    windows = description.samples.windows
    arrivals = Arrivals(Cutter(description), windows, HeldOut(2, 10**6, 10**3))
    events = list(stream.events())
    found = [a for step in events[:-1] for a in arrivals.take(step)] + list(arrivals.rest())
    scale = arrivals.normalisation
    assert scale is not None
    for k, task in enumerate(arrivals.held_out_tasks()):
        rows = tasks[k].test
        np.testing.assert_array_equal(np.sort(task.test[1]), np.sort(labels[rows]))
        trained = [a.batch for a in found if a.task == k and a.batch is not None]
        got = np.concatenate([batch[0].numpy() for batch in trained])
        np.testing.assert_allclose(scale.invert(got), inputs[tasks[k].train], atol=1e-6)
        got_labels = np.concatenate([batch[1].numpy() for batch in trained])
        np.testing.assert_array_equal(got_labels, labels[tasks[k].train])
