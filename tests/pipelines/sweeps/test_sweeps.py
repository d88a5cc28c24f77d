"""Whole sweeps of tiny jobs, as the command runs them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insituml_pipelines import train
from insituml_pipelines.common.cli import run_stage
from insituml_pipelines.tracking.base import SweepJob, Tracker

TINY = [
    "experiment=toy8",
    "model.hidden_sizes=[4]",
    "training.epochs=1",
    "training.workers=0",
    "optimizer.lr=0.01",
]
Sweeping = Callable[..., int]


class Recording(Tracker):
    """Tells what it heard."""

    jobs: list[SweepJob] = []  # noqa: RUF012 - the command makes trackers of its own
    swept_files: list[str] = []  # noqa: RUF012

    def in_sweep(self, job: SweepJob) -> None:
        self.jobs.append(job)

    def swept(self, job: SweepJob, files) -> None:
        self.swept_files.extend(file.name for file in files)


@pytest.fixture
def sweep(tools, tmp_path, monkeypatch) -> Sweeping:
    """Return a function that sweeps in ``tmp_path`` and returns the exit code."""
    tools.make_stream(tools.points_data(validation=0.25), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["insituml", "-m", *TINY, *arguments])
        try:
            run_stage(train.main, train.SECTIONS, "")
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return run


def folders_in(root: Path) -> set[str]:
    (folder,) = (root / "multirun").iterdir()
    return {path.name for path in folder.iterdir() if path.is_dir()}


def table_in(root: Path) -> pd.DataFrame:
    (file,) = root.glob("multirun/*/sweep.csv")
    return pd.read_csv(file)


def test_a_sweep_repeated_does_what_is_missing(sweep, tmp_path, monkeypatch, capsys) -> None:
    Recording.jobs.clear()
    Recording.swept_files.clear()
    monkeypatch.setattr("insituml_pipelines.tracking.opening.open_tracker", lambda _: Recording())
    trained: list[str] = []
    forward = train.train_method

    def train_method(runs, *arguments) -> None:
        trained.append(runs[0].recipe.method_name)
        forward(runs, *arguments)

    monkeypatch.setattr(train, "train_method", train_method)
    given = ["method=naive,ewc", "method.strength=1,10", "training.seeds=[0]"]
    assert sweep(*given) == 0
    assert trained == ["naive", "ewc", "ewc"]
    assert folders_in(tmp_path) == {
        "method=naive",
        "method=ewc,method.strength=1",
        "method=ewc,method.strength=10",
    }
    captured = capsys.readouterr()
    assert "note: job 0 knows no method.strength: it runs once, without" in captured.err
    table = table_in(tmp_path)
    assert list(table.columns) == ["job", "method", "method.strength", "value", "status"]
    assert table["value"].notna().all()
    assert f"**{table['value'].min():.4g}**" in captured.out
    (job,) = tmp_path.glob("multirun/*/method=ewc,method.strength=10")
    assert '"++method.strength=10"' in (job / "overrides.yaml").read_text()
    assert [job.varied for job in Recording.jobs] == [
        {},
        {"method.strength": "1"},
        {"method.strength": "10"},
    ]
    assert Recording.swept_files == ["sweep.csv", "sweep.md", "sweep.png"]

    # One more value: only that is trained, and what is there is compared with it. A checkpoint that
    # was damaged since is no finished job.
    trained.clear()
    (job / "runs/ewc/seed_0/task_2.pt").write_bytes(b"damaged")
    assert sweep("method=naive,ewc", "method.strength=1,10,100", "training.seeds=[0]") == 0
    assert trained == ["ewc", "ewc"]
    again = table_in(tmp_path)
    assert len(again) == 4
    assert again["value"][:3].tolist() == table["value"].tolist()


def test_a_job_that_fails_takes_no_other_down(sweep, tmp_path, capsys) -> None:
    given = ["tracking=none", "method=ewc", "method.strength=1,-1,5", "training.seeds=[0]"]
    assert sweep(*given) == 2
    said = capsys.readouterr()
    assert "error: job 1 (" in said.err
    assert "method.strength is -1" in said.err
    table = table_in(tmp_path)
    assert table["value"].notna().tolist() == [True, False, True]
    assert "strength is -1" in table["status"][1]
    assert folders_in(tmp_path) == {"method.strength=1", "method.strength=5"}


@pytest.mark.parametrize("launcher, plugin", [("joblib", "joblib"), ("submitit_local", "submitit")])
def test_jobs_run_in_processes_of_their_own(launcher, plugin, sweep, tmp_path, capfd) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher", reason="the extra sweep")
    given = ["tracking=none", "method=ewc", "method.strength=1,-1", "training.seeds=[0]"]
    more = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    assert sweep(*given, f"hydra/launcher={launcher}", *more) == 2
    assert table_in(tmp_path)["value"].notna().tolist() == [True, False]
    assert "method.strength=1" in folders_in(tmp_path)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("deaf", [False, True], ids=["", "SIGINT is ignored"])
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_submitted_jobs_end_with_a_sweep_that_is_stopped(deaf, sweep, monkeypatch, capsys) -> None:
    """Also in the background of a script, where those it starts do not hear SIGINT."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra sweep")
    from submitit.local import local

    from insituml_pipelines.sweeps import submitted

    started: list[Any] = []
    start = local.start_controller

    def noted(**given: Any) -> Any:
        started.append(start(**given))
        return started[-1]

    def stopped(job: Any) -> None:
        until = time.monotonic() + 60
        while not all(submitted.children(process.pid) for process in started):
            assert time.monotonic() < until
            time.sleep(0.01)
        jobs.extend(child for p in started for child in submitted.children(p.pid))
        raise KeyboardInterrupt(143)

    jobs: list[int] = []
    monkeypatch.setattr(local, "start_controller", noted)
    monkeypatch.setattr(local.LocalJob, "results", stopped)
    monkeypatch.setattr(submitted, "PATIENCE", 0.1 if deaf else 20.0)
    given = ["tracking=none", "method=ewc", "method.strength=1,5", "training.epochs=100000"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if deaf else signal.default_int_handler)
    try:
        assert sweep(*given, "hydra/launcher=submitit_local") == 143
        assert "note: 2 submitted jobs are cancelled" in capsys.readouterr().err
        assert len(jobs) == 2
        assert all(process.poll() is not None for process in started)
        until = time.monotonic() + 20
        while any(map(is_running, jobs)):  # the processes that train
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
        for job in filter(is_running, jobs):
            os.kill(job, signal.SIGKILL)


def test_each_file_of_a_glob_is_a_job_with_the_options_it_has(sweep, tmp_path, capsys) -> None:
    given = ["tracking=none", "method=glob([ewc,naive])", "method.strength=5", "training.seeds=[0]"]
    assert sweep(*given) == 0
    assert "knows no method.strength: it runs once, without" in capsys.readouterr().err
    assert folders_in(tmp_path) == {"method=ewc", "method=naive"}
    assert table_in(tmp_path)["value"].notna().tolist() == [True, True]
    assert not (tmp_path / "runs").exists()


def test_jobs_without_a_sweep_are_refused(sweep, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["insituml", *TINY, "method=naive", "++hydra.mode=MULTIRUN"])
    with pytest.raises(SystemExit) as ended:
        run_stage(train.main, train.SECTIONS, "")
    assert ended.value.code == 2
    assert "error: hydra.mode is MULTIRUN, but this is no sweep" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
