"""A data set as a stream: every sample once, with its label, through shared memory too."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest

from insituml.data.samples import Samples, SampleTask, tasks_by_label, tasks_in_time
from insituml.data.step import Step
from insituml.stream import Finished, Rejected, RingSource, SampleStream
from insituml.stream.checks import checked_step


def data_set(label_shape: tuple[int, ...] = ()) -> Samples:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, (53, *label_shape))
    if label_shape:
        labels = labels.astype(np.float32)
    inputs = rng.normal(size=(53, 1, 4, 3)).astype(np.float32)
    return Samples(inputs, labels, np.arange(53) // 9)


def replay(label_shape: tuple[int, ...], rows: int | None) -> SampleStream:
    samples = data_set(label_shape)
    return SampleStream(samples, tasks_in_time(samples, 3, 0.2, seed=1), rows)


@pytest.mark.parametrize("rows", [None, 1, 5, 1000])
@pytest.mark.parametrize("label_shape", [(), (2,)])
def test_each_part_of_each_task_comes_whole_and_in_order(label_shape, rows) -> None:
    samples = data_set(label_shape)
    tasks = tasks_in_time(samples, 3, 0.2, seed=1)
    stream = SampleStream(samples, tasks, rows)
    *steps, end = stream.events()
    assert end == Finished()
    windows = stream.windows
    for k, task in enumerate(tasks):
        for held_out, expected in ((False, task.train), (True, task.test)):
            part = [
                s
                for s in steps
                if windows.task_of(s.iteration) == k
                and (s.iteration in windows.held_out) == held_out
            ]
            got = np.concatenate([s.values for s in part])
            np.testing.assert_array_equal(got, samples.inputs[expected])
            got = np.concatenate([s.labels for s in part if s.labels is not None])
            np.testing.assert_array_equal(got, samples.labels[expected])
            assert rows is None or max(len(s.values) for s in part) <= rows


@pytest.mark.parametrize("label_shape", [(), (2,)])
def test_the_ring_brings_what_the_process_itself_would_see(label_shape) -> None:
    expected = list(replay(label_shape, 7).events())
    with RingSource(partial(replay, label_shape, 7), slots=2) as ring:
        description = ring.describe()
        assert description.shape == (7, 1, 4, 3)
        count = 0
        for event, other in zip(ring.events(), expected, strict=True):
            if isinstance(event, Step):
                assert isinstance(other, Step)
                assert event.labels is not None
                assert event.labels.dtype == (np.float32 if label_shape else np.int64)
                np.testing.assert_array_equal(event.values, other.values)
                np.testing.assert_array_equal(event.labels, other.labels)
                assert event.iteration == other.iteration
                count += 1
    assert count == len(expected) - 1


def test_a_stream_goes_on_after_an_iteration() -> None:
    stream = replay((), 7)
    everything = list(stream.events())
    assert [s.iteration for s in stream.events(after=3) if isinstance(s, Step)] == [
        s.iteration for s in everything if isinstance(s, Step) and s.iteration > 3
    ]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"labels": None}, "it has no labels"),
        ({"labels": np.zeros(3, np.int64)}, "it has 7 values and 3 labels"),
        ({"labels": np.zeros((7, 2), np.int64)}, r"its labels have shape \(7, 2\)"),
        ({"values": np.zeros((8, 1, 4, 3))}, r"its values have shape \(8, 1, 4, 3\)"),
        ({"values": np.full((7, 1, 4, 3), np.nan)}, "84 NaN and 0 infinite among its 84 values"),
    ],
)
def test_steps_that_cannot_be_learned_from_are_rejected(change, reason) -> None:
    description = replay((), 7).describe()
    good = {"values": np.zeros((7, 1, 4, 3), np.float32), "labels": np.zeros(7, np.int64)}
    assert isinstance(checked_step(Step(0, 0.0, **good), description), Step)
    found = checked_step(Step(0, 0.0, **{**good, **change}), description)
    assert isinstance(found, Rejected)
    assert re.search(reason, found.reason)


def test_tasks_by_label_hold_out_at_random_or_as_published() -> None:
    samples = data_set()
    tasks = tasks_by_label(samples, [[0, 1], [2, 3, 4]], 0.25, seed=0)
    assert [task.name for task in tasks] == ["labels 0, 1", "labels 2–4"]
    for task, group in zip(tasks, [[0, 1], [2, 3, 4]], strict=True):
        rows = np.sort(np.concatenate([task.train, task.test]))
        np.testing.assert_array_equal(rows, np.flatnonzero(np.isin(samples.labels, group)))
        assert len(task.test) == round(0.25 * len(rows))
    with pytest.raises(ValueError, match=r"no test data of their own; set data\.split"):
        tasks_by_label(samples, [[0, 1]], None, seed=0)
    published = Samples(samples.inputs, samples.labels, samples.iterations, np.arange(53) >= 40)
    (task,) = tasks_by_label(published, [[0, 1, 2, 3, 4]], None, seed=0)
    np.testing.assert_array_equal(task.test, np.arange(40, 53))


def test_rows_must_be_some() -> None:
    task = SampleTask("a", np.arange(3), np.arange(3, 5))
    with pytest.raises(ValueError, match="rows is 0"):
        SampleStream(data_set(), [task], rows=0)
