"""What a store refuses stops nothing else; a run's end is recorded whatever can be read of it."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from insituml.checkpoint_file import read_checkpoint_file
from insituml_pipelines.runs.worker import train_run
from insituml_pipelines.tracking.mlflow import MlflowTracker
from insituml_pipelines.tracking.store import StoreError


class Store:
    """Takes what has no ``refused`` in it."""

    lock = nullcontext()

    def __init__(self, away: bool = False) -> None:
        self.away = away
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.files: list[str] = []

    def open(self) -> None:
        pass

    def check_answers(self) -> None:
        if self.away:
            raise StoreError("nobody answers")

    def start(self, facts: dict[str, Any]) -> str:
        return "id"

    def write(self, kind: str, values: dict[str, Any], files: Path | None, kept: str = "") -> None:
        if "refused" in values:
            raise KeyError("losses")
        self.written.append((kind, values))
        self.files += [] if files is None else sorted(path.name for path in files.iterdir())


def tracker_of(root: Path, store: Store) -> MlflowTracker:
    tracker = MlflowTracker(root / "mlflow.db", "tests")
    tracker._recorder = store  # type: ignore[assignment]
    return tracker


@pytest.mark.parametrize("away", [False, True])
def test_a_record_that_is_refused_stays_and_the_others_are_recorded(away, tmp_path, capsys) -> None:
    """Unless it is the store that does not answer: then all of them stay."""
    store = Store(away)
    tracker = tracker_of(tmp_path, store)
    for values in ({"n": 1}, {"refused": True}, {"n": 2}):
        tracker._pending.keep("evaluation", values)
    for n in (3, 4):
        tracker._submit(tracker._record, "evaluation", {"n": n})
    tracker.close()
    kept = list((tmp_path / "mlflow.db.pending").iterdir())
    said = capsys.readouterr().err
    if away:
        assert [values for _, values in store.written] == [{"n": 1}]
        assert len(kept) == 4
        assert "mlflow.db cannot be written (nobody answers)" in said
        return
    assert [values["n"] for _, values in store.written] == [1, 2, 3, 4]
    assert len(kept) == 1
    assert said.count("\n") == 1
    assert f"the evaluation kept in {kept[0]} cannot be recorded (KeyError: 'losses')" in said
    shutil.rmtree(kept[0])
    tracker._pending.keep("evaluation", {"n": 5})
    tracker._opened = False
    tracker._submit(tracker._record, "evaluation", {"n": 6})
    tracker.close()
    assert [values["n"] for _, values in store.written] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "mlflow.db.pending").exists()


@pytest.mark.parametrize(
    "spoil, files, said",
    [
        (
            lambda run: shutil.rmtree(run.tasks),
            ["MLmodel", "task_2.pt"],
            "has zeros as its model's",
        ),
        (lambda run: run.checkpoint(2).write_bytes(b"?"), [], "is recorded without its checkpoint"),
    ],
    ids=["tasks are gone", "checkpoint is damaged"],
)
def test_a_run_ends_whatever_can_be_read_of_it(
    spoil, files, said, make_run, tools, tmp_path, capsys
) -> None:
    stream = tools.make_stream(tools.points_data(), tmp_path)
    run = make_run("naive", 0, stream, folder=tmp_path / "runs/naive/seed_0")
    train_run(run, lambda *_: None)
    losses = read_checkpoint_file(run.checkpoint(2)).metadata["loss_history"]
    store = Store()
    with tracker_of(tmp_path, store).training([run]):
        spoil(run)
    ((kind, values),) = store.written
    assert (kind, values["status"]) == ("run", "FINISHED")
    assert values["losses"] == (losses if files else [])
    assert set(store.files) >= set(files)
    error = capsys.readouterr().err
    assert f"tracking: {run.recipe.name} {said}" in error
    assert error.count("\n") == 1
