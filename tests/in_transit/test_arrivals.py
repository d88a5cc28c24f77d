"""Which steps normalise a stream, which wait for that, and what becomes of the held-out ones."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipelines.transit.log import StreamLog
from pipelines.transit.streamed_tasks import Samples, StreamedTasks

from insituml.data.npy_folder import NpyFolder
from insituml.data.step import Step
from insituml.stream import FieldStream, Finished
from pipelines.common.errors import UserError
from pipelines.common.schema import Transit
from pipelines.stream import SECTIONS

STEPS = 14
WINDOWS = [range(5), range(5, 10), range(10, 14)]
"""Numbers of the steps of each task; of these are held out:"""
HELD_OUT = {1, 3, 6, 8, 12}


@pytest.fixture
def fields(tools, tmp_path) -> np.ndarray:
    return tools.write_fields(tmp_path / "fields", STEPS)


def open_tasks(tools: Any, root: Path, **transit: Any) -> StreamedTasks:
    section = {**tools.invoke(root, SECTIONS).section("transit"), **transit}
    description = FieldStream(NpyFolder(root / "fields")).describe()
    data = tools.field_data(root / "fields")
    tasks = StreamedTasks(data, Transit.model_validate(section), description)
    tasks.keep_in(root / "kept")
    return tasks


def take(tasks: StreamedTasks, fields: np.ndarray, numbers: Any) -> list[Samples]:
    return [
        samples
        for number in numbers
        for samples in tasks.take(Step(100 * number, 0.0, fields[number], {}))
    ]


@pytest.mark.parametrize("begin", [0, 3, 6, 8, 12])
def test_the_first_task_that_comes_normalises_the_stream(begin, fields, tools, tmp_path) -> None:
    """One may attach to a simulation that has been running for a while."""
    tasks = open_tasks(tools, tmp_path)
    found = [*take(tasks, fields, range(begin, STEPS)), *tasks.rest()]
    (window,) = [w for w in WINDOWS if begin in w]
    trained = [n for n in window if n >= begin and n not in HELD_OUT]
    expected = fields[trained]
    assert tasks.normalisation is not None
    np.testing.assert_allclose(tasks.normalisation.mean, expected.mean(axis=(0, 2, 3, 4)), 1e-5)
    np.testing.assert_allclose(tasks.normalisation.std, expected.std(axis=(0, 2, 3, 4)), 1e-5)
    assert [samples.iteration // 100 for samples in found] == list(range(begin, STEPS))
    kept = [n // 100 for task in range(3) for n in tasks.held_out.iterations(task)]
    assert kept == sorted(n for n in HELD_OUT if n >= begin)


def test_held_out_steps_wait_for_one_to_train_on_whatever_its_task(fields, tools, tmp_path) -> None:
    tasks = open_tasks(tools, tmp_path)
    assert take(tasks, fields, [1, 3, 6]) == []
    assert list(tasks.rest()) == []
    assert tasks.pending  # so that no resume point leaves them behind
    take(tasks, fields, [7, 9, 10])
    assert [tasks.held_out.iterations(task) for task in range(3)] == [[100, 300], [600], []]
    assert not tasks.pending


@pytest.mark.parametrize(
    "most, waiting", [(None, 5), (1, 1), (2, 3), (3, 5), (4, 5)], ids=lambda value: str(value)
)
def test_how_many_steps_wait_is_known_before(most, waiting, fields, tools, tmp_path) -> None:
    tasks = open_tasks(tools, tmp_path, normalisation_steps=most)
    assert tasks.most_waiting == waiting
    for number in range(waiting - 1):
        assert take(tasks, fields, [number]) == []
    # Where all of the first task is waited for, the next task's first step shows that it is over.
    whole = take(tasks, fields, [waiting - 1]) or take(tasks, fields, [waiting])[:-1]
    assert len(whole) == waiting


@pytest.mark.parametrize("normalisation", ["running", "global"])
def test_a_stream_is_normalised_by_its_beginning_alone(
    normalisation, fields, tools, tmp_path
) -> None:
    section = tools.invoke(tmp_path, SECTIONS).section("transit")
    description = FieldStream(NpyFolder(tmp_path / "fields")).describe()
    data = tools.field_data(tmp_path / "fields", normalisation=normalisation)
    with pytest.raises(UserError, match=rf"normalisation is {normalisation}; .*first_task"):
        StreamedTasks(data, Transit.model_validate(section), description)


def test_waiting_is_a_part_of_the_time_at_any_moment() -> None:
    def events() -> Any:
        for _ in range(3):
            time.sleep(0.02)
            yield Finished()

    log = StreamLog()
    shares = [log.wait_share for _ in log.timed(events())]
    assert all(0.0 < share <= 1.0 for share in shares)
    for _ in log.timed(iter([Finished()])):
        time.sleep(0.1)
    assert 0.06 / log.seconds <= log.wait_share < 0.7
