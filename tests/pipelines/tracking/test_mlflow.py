"""What is recorded in a real MLflow store; and that training never depends on one."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from insituml.training import EpochRecord
from insituml_pipelines.evaluate import evaluate_method
from insituml_pipelines.runs.worker import train_run
from insituml_pipelines.sweeps.trial import PrunedError
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.tracking.mlflow import MlflowTracker
from insituml_pipelines.train import train_method

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow 3.17's tables ask SQLAlchemy 2.1 for a loader that it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

ROOT = Path(__file__).parents[3]
PARENT = "mlflow.parentRunId"

OPEN_STORE = """
import sys, time
from pathlib import Path
from insituml_pipelines.tracking.mlflow import MlflowTracker
import mlflow
tracker = MlflowTracker(Path(sys.argv[1]), "cold")
Path(sys.argv[2]).touch()
while not all(Path(other).exists() for other in sys.argv[2:]):
    time.sleep(0.005)
print("id", tracker._recorder.experiment_id())
"""


class Killed(Exception):
    pass


def client(root: Path) -> MlflowClient:
    from mlflow import MlflowClient  # takes seconds: not while tests are collected

    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def runs_in(root: Path) -> tuple[list, list]:
    """Return the parent and the child runs."""
    store = client(root)
    experiment = store.get_experiment_by_name("tests")
    assert experiment is not None
    runs = store.search_runs([experiment.experiment_id])
    children = [run for run in runs if PARENT in run.data.tags]
    return [run for run in runs if PARENT not in run.data.tags], children


def tracker_in(root: Path) -> Tracker:
    return MlflowTracker(root / "mlflow.db", "tests")


def runs_of(make_run, tools, root: Path, method: str, seeds=(0, 1)) -> list:
    from insituml_pipelines.common.task_files import read_tasks

    stream = read_tasks(root / "data/tasks")
    return [
        make_run(method, seed, stream, folder=root / ".partial" / method / f"seed_{seed}")
        for seed in seeds
    ]


def test_runs_are_recorded_and_go_on_under_their_id(make_run, tools, tmp_path, capsys) -> None:
    """One store for all of it: making one takes seconds."""
    stream = tools.make_stream(tools.points_data(), tmp_path)
    naive = runs_of(make_run, tools, tmp_path, "naive")
    tracker = tracker_in(tmp_path)
    assert isinstance(tracker, MlflowTracker)
    train_method(naive, 0, 1, tmp_path, tracker)

    (parent,), children = runs_in(tmp_path)
    assert len(children) == 2
    assert parent.info.run_name.startswith("toy8 MLP 20")
    assert parent.info.status == "FINISHED"  # it ends with its children
    assert parent.data.params["training.epochs"] == "3"
    shared = {"data": "toy8", "experiment": "toy8", "model": "MLP", "source": "files"}
    for run in (parent, *children):
        assert run.data.tags.items() >= shared.items()
        (data,) = run.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == (
            "toy8",
            stream.manifest.fingerprint[:16],
        )
    for child in children:
        assert child.data.tags[PARENT] == parent.info.run_id
        assert child.info.status == "FINISHED"
    by_seed = {child.data.params["seed"]: child for child in children}
    child = by_seed["1"]
    assert child.info.run_name == "naive seed 1"
    params = child.data.params
    assert params["method_name"] == "naive"
    assert params["model.hidden_sizes"] == "[6]"
    assert params["optimizer.lr"] == "0.01"
    assert params["training.max_gradient_norm"] == "1.0"

    # Each step's loss, at its step.
    heard: list = []
    again = make_run("naive", 1, stream, folder=tmp_path / "again")
    train_run(again, lambda _, record: heard.append(record))
    losses = [x for r in heard if isinstance(r, EpochRecord) for x in r.losses]
    store = client(tmp_path)
    history = store.get_metric_history(child.info.run_id, "train_loss")
    assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == list(
        enumerate(losses)
    )
    # How fast it was, which is no result.
    timings = json.loads((tmp_path / "timings/naive.json").read_text())
    assert child.data.metrics["seconds_per_step"] == timings["1"]["seconds_per_step"]
    # The last checkpoint as a plain file, beside what says how to call it.
    files = {Path(f.path).name for f in store.list_artifacts(child.info.run_id, "model")}
    assert files == {"MLmodel", "input_example.json", "requirements.txt", "task_2.pt"}
    stored = tmp_path / "mlruns" / child.info.run_id / "artifacts/model/task_2.pt"
    assert stored.read_bytes() == (tmp_path / "runs/naive/seed_1/task_2.pt").read_bytes()
    assert not stored.is_symlink()

    # The evaluation finds the same runs again, by what the checkpoints say.
    tracker = tracker_in(tmp_path)
    summary = evaluate_method("naive", stream, tmp_path, tracker)
    tracker.close()
    found = store.get_run(child.info.run_id).data.metrics
    numbers = summary.seeds["1"]
    assert found["final_average_error"] == numbers["final_average_error"]
    assert found["forgetting"] == numbers["forgetting"]
    curve = store.get_metric_history(child.info.run_id, "error_on_task_0")
    assert [m.step for m in curve] == [0, 1, 2]

    # The comparison goes to the parent, with its files.
    (tmp_path / "results").mkdir()
    (tmp_path / "results/leaderboard.md").write_text("| naive | 0.5 |\n")
    (tmp_path / "figures").mkdir()
    for name in ("loss_matrix_naive.png", "reconstructions_naive_Ex.png", "leaderboard.png"):
        (tmp_path / "figures" / name).write_bytes(name.encode())
    identity = summary.identity
    for folder in ("results", "figures"):
        tracker.compared(identity, {"forgetting.naive": 0.5}, tmp_path / folder)
    tracker.close()
    compared = store.get_run(parent.info.run_id)
    assert compared.data.metrics == {}  # a metric has one name for all methods: in the children
    assert compared.info.status == "FINISHED"
    assert compared.data.tags["mlflow.note.content"] == "| naive | 0.5 |\n"
    artifacts = tmp_path / "mlruns" / parent.info.run_id / "artifacts"
    assert tools.contents(artifacts) == {
        "results/leaderboard.md": b"| naive | 0.5 |\n",
        "figures/loss_matrix/naive.png": b"loss_matrix_naive.png",
        "figures/reconstructions/naive_Ex.png": b"reconstructions_naive_Ex.png",
        "figures/comparison/leaderboard.png": b"leaderboard.png",
    }

    # Another method with the same settings: same parent. Stopped half way, it goes on as itself.
    (run,) = runs_of(make_run, tools, tmp_path, "ewc", seeds=[0])
    for stop, status in ((Killed, "FAILED"), (KeyboardInterrupt, "KILLED"), (None, "FINISHED")):
        tracker = tracker_in(tmp_path)
        forward = tracker.losses

        def losses_until(run, first_step, losses, stop=stop, forward=forward) -> None:
            forward(run, first_step, losses)
            if stop is not None and first_step > 0:
                raise stop

        tracker.losses = losses_until  # type: ignore[method-assign]
        if stop is None:
            train_method([run], 0, 1, tmp_path, tracker)
        else:
            with pytest.raises(stop):
                train_method([run], 0, 1, tmp_path, tracker)
        parents, children = runs_in(tmp_path)
        (mine,) = [c for c in children if c.data.tags["method"] == "ewc"]
        assert mine.info.status == status
        kept = {Path(f.path).name for f in store.list_artifacts(mine.info.run_id, "model")}
        assert ("task_2.pt" in kept) == (status == "FINISHED")
        assert runs_in(tmp_path)[0][0].info.status == "FINISHED"
        assert len(parents) == 1
        assert mine.data.tags[PARENT] == parent.info.run_id
    # A SIGKILL leaves it RUNNING; trained again when FINISHED, it is a new run.
    store.update_run(mine.info.run_id, status="RUNNING")
    for expected in (1, 2):
        train_method([run], 0, 1, tmp_path, tracker_in(tmp_path))
        _, children = runs_in(tmp_path)
        assert len([c for c in children if c.data.tags["method"] == "ewc"]) == expected

    # One that did not come to its end, though others did, goes on as itself, too.
    both = runs_of(make_run, tools, tmp_path, "joint")
    for broken, expected in ((both[:1], ["FAILED", "FINISHED"]), ([], ["FINISHED"] * 3)):
        tracker = tracker_in(tmp_path)
        with tracker.training(both):
            for run in broken:
                tracker.broke_off(run)
        _, children = runs_in(tmp_path)
        joint = [c for c in children if c.data.tags["method"] == "joint"]
        assert sorted(c.info.status for c in joint) == expected

    # One that a search ended early has not failed; what it would be is trained as another run.
    run, ended = both[0], "pruned after task 0, with an average error of 3"
    for _ in range(2):
        tracker = tracker_in(tmp_path)
        with pytest.raises(PrunedError), tracker.training([run]):
            raise PrunedError(ended)
    _, children = runs_in(tmp_path)
    pruned = [c for c in children if "pruned" in c.data.tags]
    assert [(c.info.status, c.data.tags["pruned"]) for c in pruned] == [("FINISHED", ended)] * 2
    assert not store.list_artifacts(pruned[0].info.run_id)

    # Other settings: another parent.
    changed = make_run(
        "naive",
        0,
        stream,
        folder=tmp_path / ".partial/other/seed_0",
        training={**tools.TRAINING, "epochs": 1},
    )
    train_method([changed], 0, 1, tmp_path, tracker_in(tmp_path))
    assert len(runs_in(tmp_path)[0]) == 2
    assert "tracking: " not in capsys.readouterr().err

    # Without a run of its own, an evaluation says so.
    tracker.evaluated(make_run("naive", 4).recipe.identity(), {"a": [1.0]})
    tracker.close()
    said = capsys.readouterr().err
    assert "no run of naive seed 4 in mlflow.db: its evaluation is in evaluations/ only" in said


@pytest.mark.parametrize("damage", ["no database", "of another program"])
def test_a_broken_store_costs_one_line_and_no_training(
    damage, make_run, tools, tmp_path, capfd
) -> None:
    database = tmp_path / "mlflow.db"
    if damage == "of another program":
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE addresses (name)")
            connection.commit()
    else:
        database.write_bytes(b"this is no database, but long enough to look at " * 100)
    tools.make_stream(tools.points_data(), tmp_path)
    started = time.monotonic()
    train_method(runs_of(make_run, tools, tmp_path, "naive"), 0, 1, tmp_path, tracker_in(tmp_path))
    assert time.monotonic() - started < 30  # MLflow alone tries for minutes
    assert (tmp_path / "runs/naive/seed_1/task_2.pt").exists()
    said = [line for line in capfd.readouterr().err.splitlines() if "naive:" not in line]
    (line,) = [part for part in said if part.strip()]
    assert line.startswith("tracking: mlflow.db cannot be written (")
    assert "tracking=none switches it off" in line


def test_what_a_broken_store_could_not_take_is_recorded_later_and_once(
    make_run, tools, tmp_path, capfd
) -> None:
    """Runs, curves, checkpoints and comparisons, in the order in which they came."""
    stream = tools.make_stream(tools.points_data(), tmp_path)
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"this is no database, but long enough to look at " * 100)
    (run,) = runs_of(make_run, tools, tmp_path, "naive", seeds=[1])
    tracker = tracker_in(tmp_path)
    train_method([run], 0, 1, tmp_path, tracker)
    summary = evaluate_method("naive", stream, tmp_path, tracker)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/leaderboard.csv").write_text("method\n")
    tracker.compared(summary.identity, {"forgetting.naive": 0.5}, tmp_path / "results")
    tracker.close()
    assert "is kept in mlflow.db.pending" in capfd.readouterr().err
    kept = sorted((tmp_path / "mlflow.db.pending").glob("[0-9]*"))
    assert len(kept) == 4
    shutil.copytree(kept[0], tmp_path / "again" / kept[0].name)

    database.unlink()
    shutil.rmtree(tmp_path / "runs")  # what was kept stands for itself
    tracker = tracker_in(tmp_path)
    tracker.compared(summary.identity, {"forgetting.naive": 0.5}, tmp_path / "results")
    tracker.close()
    assert not (tmp_path / "mlflow.db.pending").exists()
    for repeated in (False, True):
        if repeated:  # as if killed after it was recorded, before it was deleted
            shutil.copytree(tmp_path / "again", tmp_path / "mlflow.db.pending")
            tracker = tracker_in(tmp_path)
            tracker.compared(summary.identity, {"forgetting.naive": 0.5}, tmp_path / "results")
            tracker.close()
        (parent,), (child,) = runs_in(tmp_path)
        store = client(tmp_path)
        assert child.info.status == "FINISHED"
        losses = store.get_metric_history(child.info.run_id, "train_loss")
        assert len(losses) == len({m.step for m in losses}) > 3
        assert len(store.get_metric_history(child.info.run_id, "error_on_task_0")) == 3
        assert [f.path for f in store.list_artifacts(parent.info.run_id, "results")] == [
            "results/leaderboard.csv"
        ]
        assert "model/task_2.pt" in {
            f.path for f in store.list_artifacts(child.info.run_id, "model")
        }
    assert "4 records that were kept are in mlflow.db now" in capfd.readouterr().out


def test_an_interrupted_run_has_every_point_once(make_run, tools, tmp_path) -> None:
    tools.make_stream(tools.points_data(), tmp_path)
    (run,) = runs_of(make_run, tools, tmp_path, "naive", seeds=[0])
    for stop in (
        7,
        13,
        24,
        None,
    ):  # within tasks: what follows the last checkpoint is learned again
        tracker = tracker_in(tmp_path)
        forward = tracker.losses

        def losses_until(run, first_step, losses, stop=stop, forward=forward) -> None:
            if first_step != 18:  # lost on the way
                forward(run, first_step, losses)
            if stop is not None and first_step >= stop:
                raise Killed

        tracker.losses = losses_until  # type: ignore[method-assign]
        with pytest.raises(Killed) if stop is not None else nullcontext():
            train_method([run], 0, 1, tmp_path, tracker)
    _, (child,) = runs_in(tmp_path)
    history = client(tmp_path).get_metric_history(child.info.run_id, "train_loss")
    assert sorted(point.step for point in history) == list(range(42))


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path, capfd) -> None:
    """By whatever made it: before its name was given to it last, it got it first."""
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY)")
        connection.commit()
    (tmp_path / ".mlflow.db.new").write_bytes(b"half of ours")
    tracker = tracker_in(tmp_path)
    assert isinstance(tracker, MlflowTracker)
    assert tracker._recorder.experiment_id()
    assert (tmp_path / "mlflow.db.broken").exists()
    assert not (tmp_path / ".mlflow.db.new").exists()
    assert "a new one is made" in capfd.readouterr().err
    assert client(tmp_path).get_experiment_by_name("tests") is not None


def test_a_cold_store_is_opened_by_two_processes_at_once(tmp_path) -> None:
    flags = [str(tmp_path / f"ready{n}") for n in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_STORE, str(tmp_path / "mlflow.db"), *order],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for order in (flags, flags[::-1])
    ]
    output = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], output
    first, second = (out for out, _ in output)
    assert first == second != ""
    assert client(tmp_path).get_experiment_by_name("cold") is not None
