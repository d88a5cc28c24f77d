"""What jobs leave, and the table that is made of it; no job is trained here."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insituml_pipelines.common import cli
from insituml_pipelines.common.jobs import Jobs
from insituml_pipelines.sweeps import results
from insituml_pipelines.sweeps.missing import missing_jobs
from insituml_pipelines.sweeps.plan import Sweep, sweep_of
from insituml_pipelines.sweeps.records import OVERRIDES, JobRecord, collect, leave, with_earlier
from insituml_pipelines.sweeps.sameness import digest_of_job
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.train import SECTIONS

GIVEN = ["tracking=none", "method=ewc", "method.strength=1,10"]


@pytest.fixture(autouse=True)
def nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "draw", lambda sweep, records, file: file.write_bytes(b""))


def run_job(
    sweep: Sweep,
    number: int,
    strength: str,
    value: float | None,
    data: str = "d",
    method: str = "ewc",
) -> JobRecord:
    """Leave what a job leaves."""
    overrides = ["tracking=none", f"method={method}", f"method.strength={strength}"]
    place = sweep.place(overrides)
    configured = digest_of_job(sweep, overrides, SECTIONS)
    record = JobRecord(
        number, overrides, sweep.varied(overrides), str(place), value, configured=configured
    )
    if value is None:
        record = replace(record, code=2, message="wrong")
    else:
        summary = place / f"evaluations/{method}/summary.json"
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.write_text(json.dumps({"identity": {"data": data, "code": "c"}}))
    leave(sweep, record)
    return record


def again(sweep: Sweep) -> Sweep:
    """Return the sweep as another call knows it."""
    return replace(sweep, started=f"{sweep.started}0")


def table_of(sweep: Sweep) -> dict[str, Any]:
    results.conclude(sweep, collect(sweep), SECTIONS)
    table = pd.read_csv(sweep.folder / results.TABLE)
    assert list(table["method.strength"]) == list(dict.fromkeys(table["method.strength"]))
    return dict(zip(table["method.strength"], table["value"].fillna(-1), strict=True))


def test_the_table_has_the_jobs_of_earlier_calls(tmp_path: Path) -> None:
    sweep = sweep_of("train", GIVEN, str(tmp_path / "m"))
    run_job(sweep, 0, "1", 0.5)
    run_job(sweep, 1, "10", 0.25)
    assert table_of(sweep) == {1: 0.5, 10: 0.25}
    sweep = again(sweep)
    run_job(sweep, 0, "100", 0.125)
    run_job(sweep, 1, "-1", None)
    assert table_of(sweep) == {100: 0.125, -1: -1, 1: 0.5, 10: 0.25}
    # A failure of a call is in its table alone; a job that fails now has no earlier value.
    sweep = again(sweep)
    run_job(sweep, 0, "10", None)
    run_job(sweep, 1, "100", 0.125)
    assert table_of(sweep) == {10: -1, 100: 0.125, 1: 0.5}
    sweep = again(sweep)
    run_job(sweep, 0, "1", 0.5)
    assert table_of(sweep) == {1: 0.5, 100: 0.125}
    overrides = json.loads((tmp_path / "m/method.strength=1" / OVERRIDES).read_text())
    assert overrides[-1] == "method.strength=1"


def test_jobs_that_do_not_compare_are_left_out(tmp_path: Path, capsys) -> None:
    sweep = sweep_of("train", GIVEN, str(tmp_path / "m"))
    run_job(sweep, 0, "1", 0.5, data="old")
    run_job(sweep, 1, "10", 0.5)
    (tmp_path / "m/method.strength=10/job.json").write_text("{")
    foreign = sweep_of("train", [*GIVEN, "training.epochs=2"], str(tmp_path / "m"))
    run_job(foreign, 0, "7", 0.5)
    sweep = again(sweep)
    run_job(sweep, 0, "100", 0.25)
    found = with_earlier(sweep, collect(sweep), lambda record: record.configured)
    assert [Path(record.place).name for record in found] == ["method.strength=100"]
    said = capsys.readouterr().err
    assert "method.strength=1 of earlier calls have other data, code or configuration" in said
    assert "job.json is damaged" in said
    assert "strength=7" not in said


def test_jobs_of_an_edited_configuration_are_left_out(tmp_path, capsys) -> None:
    """Whatever it is that was edited, unless it is swept, or no job reads it."""
    conf = tmp_path / "conf/method"
    conf.mkdir(parents=True)
    path = [f"hydra.searchpath=[file://{tmp_path / 'conf'}]"]

    def written(strength: float, samples: int) -> None:
        text = f"defaults: [ewc]\nstrength: {strength}\nfisher_samples: {samples}\n"
        (conf / "mine.yaml").write_text(text)

    given = ["tracking=none", "method=mine", "method.strength=1,10"]
    sweep = sweep_of("train", given, str(tmp_path / "m"), path)

    def swept(*strengths: str) -> list[str]:
        nonlocal sweep
        sweep = again(sweep)
        for number, strength in enumerate(strengths):
            run_job(sweep, number, strength, 0.5, method="mine")
        found = table_of(sweep)
        return sorted(map(str, found))

    written(strength=3.0, samples=5)
    assert swept("1", "10") == ["1", "10"]
    written(strength=4.0, samples=5)  # which each job has of its own
    assert swept("100") == ["1", "10", "100"]
    written(strength=4.0, samples=6)
    assert swept("100") == ["100"]
    assert "method.strength=1, method.strength=10 of earlier calls" in capsys.readouterr().err
    assert swept("1") == ["1", "100"]
    written(strength=4.0, samples=5)  # as the job of strength 10 was configured
    assert swept("7") == ["10", "7"]


def test_jobs_without_a_record_are_found() -> None:
    given = ["method=naive,ewc", "method.strength=1,10", "name=x", "hydra/launcher=joblib"]
    sweep = sweep_of("train", given, "m")
    missing = missing_jobs(sweep, given, [JobRecord(2, [], {}, "")])
    assert [(job.number, job.overrides[1:-1]) for job in missing] == [
        (0, []),
        (3, ["method.strength=10"]),
    ]
    assert all(job.code == 1 and "did not end" in job.message for job in missing)
    assert Path(missing[1].place).name == "method=ewc,method.strength=10"
    assert missing_jobs(sweep, [*given, "hydra/sweeper=optuna"], []) == []


def test_a_launcher_that_breaks_leaves_a_table(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)

    ran = []

    def run(jobs: Jobs, config: Any) -> float:
        assert jobs.sweep is not None
        if ran:
            raise RuntimeError("Job (task=0) failed\n-----\nlong log")
        ran.append(run_job(jobs.sweep, 0, "1", 0.5))
        return 0.5

    monkeypatch.setattr(Jobs, "run", run)
    monkeypatch.setattr(sys, "argv", ["insituml", "-m", *GIVEN])
    with pytest.raises(SystemExit) as ended:
        cli.run_stage(lambda call: None, ["method"], "")
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "a job ended without a word (RuntimeError: Job (task=0) failed): 1 jobs" in said.err
    assert "not foreseen" not in said.err
    (file,) = tmp_path.glob("multirun/*/sweep.csv")
    table = pd.read_csv(file)
    assert table["value"].notna().tolist() == [True, False]


def test_results_are_recorded_where_the_jobs_were(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    text = "# @package _global_\ndefaults: [toy8]\ntracking: {uri: 'sqlite:///mine.db'}\n"
    (tmp_path / "conf/experiment/mine.yaml").write_text(text)
    opened = []
    monkeypatch.setattr(
        "insituml_pipelines.tracking.opening.open_tracker",
        lambda section: opened.append(section["uri"]) or Tracker(),
    )
    path = [f"hydra.searchpath=[file://{tmp_path / 'conf'}]"]
    given = ["experiment=mine", "method=ewc", "method.strength=1,10"]
    sweep = sweep_of("train", given, str(tmp_path / "m"), path)
    (tmp_path / "m").mkdir()
    job = ["experiment=mine", "method=ewc", "method.strength=1"]
    results.conclude(
        sweep, [JobRecord(0, job, sweep.varied(job), str(tmp_path / "m/j"), 0.5)], SECTIONS
    )
    assert opened == ["sqlite:///mine.db"]
