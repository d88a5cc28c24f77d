"""Workers are heard in order, to the last word, and their errors surface."""

from __future__ import annotations

from pathlib import Path

import pytest

from insituml.training import EpochRecord, TaskRecord
from insituml_pipelines.common.workers import WorkerDiedError
from insituml_pipelines.runs.pool import train_all


def without_seconds(records: list[object]) -> list[object]:
    return [(r.task, r.steps, r.loss) if isinstance(r, TaskRecord) else r for r in records]


FAILING = """
import os
from insituml.methods import Naive

class Failing(Naive):
    def end_task(self, learner, task):
        if task.index == 1:
            raise ValueError("no more of this")

class Killed(Naive):
    def end_task(self, learner, task):
        if task.index == 1:
            os.kill(os.getpid(), 9)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch) -> str:
    (tmp_path / "methods_of_this_test.py").write_text(FAILING)
    # Spawned processes get the parent's path.
    monkeypatch.syspath_prepend(str(tmp_path))
    return "methods_of_this_test"


def test_workers_train_the_same_weights_say_the_same_and_fail_aloud(
    make_run, module, tmp_path
) -> None:
    """More runs than workers, one of them with an error: the others end as they do alone."""
    here = [make_run(seed=s, folder=tmp_path / f"here{s}") for s in (0, 1)]
    there = [make_run(seed=s, folder=tmp_path / f"there{s}") for s in (0, 1)]
    bad = make_run(seed=2, method={"_target_": f"{module}.Failing"})
    expected: dict[int, list[object]] = {0: [], 1: []}
    train_all(here, 0, 1, lambda run, record: expected[run.recipe.seed].append(record))
    heard: dict[int, list[object]] = {0: [], 1: [], 2: []}
    moved: list[int] = []
    with pytest.raises(ValueError, match="no more of this"):
        train_all(
            [bad, *there],
            2,
            1,
            lambda run, record: heard[run.recipe.seed].append(record),
            moved.append,
        )
    for a, b in zip(here, there, strict=True):
        for task in range(3):
            left, right = (run.checkpoint(task).read_bytes() for run in (a, b))
            assert left == right
        # All that was said, in order, to the last word.
        assert without_seconds(heard[a.recipe.seed]) == without_seconds(expected[a.recipe.seed])
        steps = [r.first_step for r in heard[a.recipe.seed] if isinstance(r, EpochRecord)]
        assert steps == sorted(steps)
        assert isinstance(heard[a.recipe.seed][-1], TaskRecord)
        assert (a.timing()["side_by_side"], b.timing()["side_by_side"]) == (1, 2)
    # A bar moves by every step, those of the run that failed too.
    epochs = [r for records in heard.values() for r in records if isinstance(r, EpochRecord)]
    assert sum(moved) == sum(len(epoch.losses) for epoch in epochs)
    assert [r.task for r in heard[2] if isinstance(r, TaskRecord)] == [0]
    assert bad.checkpoint(0).exists()
    assert not bad.checkpoint(1).exists()


def test_a_worker_that_is_killed_is_noticed(make_run, module) -> None:
    killed = make_run(seed=2, method={"_target_": f"{module}.Killed"})
    with pytest.raises(WorkerDiedError, match="a worker was killed by signal SIGKILL"):
        train_all([killed], 1, 1, lambda run, record: None)
    assert killed.checkpoint(0).exists()


def test_an_error_in_this_process_surfaces_too(make_run) -> None:
    run = make_run(model={"_target_": "insituml.models.MLP", "input_shape": [5]})
    with pytest.raises(RuntimeError, match="shape"):
        train_all([run], 0, 1, lambda run, record: None)
