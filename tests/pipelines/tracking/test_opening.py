"""The tracker is what the configuration names, be it of the user's own module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from insituml.training import EpochRecord
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.task_files import read_tasks
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.tracking.mlflow import MlflowTracker
from insituml_pipelines.tracking.opening import open_tracker
from insituml_pipelines.train import train_method

OWN = """
from pathlib import Path
from insituml_pipelines.tracking.base import Tracker

class FileTracker(Tracker):
    def __init__(self, file: str = "losses.txt") -> None:
        self.file = Path(file)

    def losses(self, run, first_step, losses):
        with self.file.open("a") as file:
            print(run.recipe.seed, first_step, *losses, file=file)

    def timed(self, run, seconds_per_step):
        assert seconds_per_step > 0
        with self.file.open("a") as file:
            print(run.recipe.seed, "took its time", file=file)

class Something:
    pass
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch) -> Path:
    """A module of the user's in the working folder, as `python -m` finds it."""
    (tmp_path / "own_tracking.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_tracking", raising=False)
    return tmp_path


def node(tools: Any, root: Path, *overrides: str) -> dict[str, Any]:
    return tools.invoke(root, ["tracking"], *overrides).section("tracking")


def test_mlflow_is_the_default_and_takes_its_options(tools, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracker = open_tracker(node(tools, tmp_path))
    assert type(tracker) is MlflowTracker
    assert (tracker.database, tracker.experiment) == (tmp_path / "mlflow.db", "insituml")
    chosen = ["tracking.database=other/runs.db", "tracking.experiment=mine"]
    tracker = open_tracker(node(tools, tmp_path, *chosen))
    assert isinstance(tracker, MlflowTracker)
    assert (tracker.database, tracker.experiment) == (tmp_path / "other/runs.db", "mine")
    assert list(tmp_path.iterdir()) == []  # nothing to record yet


def test_none_writes_nothing(make_run, tools, tmp_path, capsys) -> None:
    stream = tools.make_stream(tools.points_data(), tmp_path)
    tracker = open_tracker(node(tools, tmp_path, "tracking=none"))
    assert type(tracker) is Tracker
    run = make_run("naive", 0, stream, folder=tmp_path / ".partial/naive/seed_0")
    train_method([run], 0, 1, tmp_path, tracker)
    tracker.evaluated({}, {})
    tracker.compared({}, {}, tmp_path)
    tracker.close()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "runs", "timings", ".partial"}


def test_a_tracker_of_the_users_own_is_named_in_one_place(
    own_module, make_run, tools, tmp_path
) -> None:
    tools.make_stream(tools.points_data(), tmp_path)
    chosen = ["tracking=none", "tracking._target_=own_tracking.FileTracker", "+tracking.file=a.txt"]
    tracker = open_tracker(node(tools, tmp_path, *chosen))
    heard: list[str] = []
    stream = read_tasks(tmp_path / "data/tasks")
    run = make_run("naive", 3, stream, folder=tmp_path / ".partial/x/seed_3")
    train_method([run], 0, 1, tmp_path, tracker)
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert lines[0].startswith("3 0 ")
    assert lines[-1] == "3 took its time"

    from insituml_pipelines.runs.worker import train_run

    again = make_run("naive", 3, stream, folder=tmp_path / "again")
    train_run(again, lambda _, r: heard.extend(r.losses) if isinstance(r, EpochRecord) else None)
    recorded = [float(x) for line in lines[:-1] for x in line.split()[2:]]
    assert recorded == heard


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"_target_": "own_tracking.Missing"},
            "tracking._target_ is 'own_tracking.Missing', but own_tracking has no Missing",
        ),
        (
            {"_target_": "no_module.At.All"},
            "tracking._target_ is 'no_module.At.All', but there is no",
        ),
        ({"_target_": "own_tracking.Something"}, "which makes a Something; expected a subclass of"),
        (
            {"_target_": "own_tracking.FileTracker", "database": "a"},
            "tracking.database is not an option of own_tracking.FileTracker; accepted: file; to "
            "begin without the options of another tracker, add tracking=none",
        ),
        (
            {"_target_": "insituml_pipelines.tracking.base.Tracker", "file": "a"},
            "tracking.file is not an option of .*tracking.base.Tracker; accepted: none",
        ),
        ({"_target_": "own_tracking.FileTracker", "file": [1]}, "tracking.file is .*valid string"),
    ],
)
def test_mistakes_are_one_line(values, message, own_module) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_tracker(values)
    assert "\n" not in str(caught.value)


def test_a_tracker_is_opened_without_importing_mlflow() -> None:
    """That takes seconds, and the first record is early enough."""
    code = (
        "import sys\n"
        "from insituml_pipelines.tracking.opening import open_tracker\n"
        "target = 'insituml_pipelines.tracking.mlflow.MlflowTracker'\n"
        "open_tracker({'_target_': target, 'database': 'x.db', 'experiment': 'y'})\n"
        "assert 'mlflow' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)
