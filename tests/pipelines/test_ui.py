"""`insituml ui` opens on tables of runs, and says what is wrong in one line."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import pytest

from insituml_pipelines import ui
from insituml_pipelines.common.errors import UserError

TABLES = """
CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);
CREATE TABLE runs (experiment_id INTEGER, start_time INTEGER, lifecycle_stage TEXT);
INSERT INTO experiments VALUES (0, 'Default', 'active'), (1, 'insituml', 'active'),
    (2, 'insituml in transit', 'active'), (3, 'gone', 'deleted');
INSERT INTO runs VALUES (1, 10, 'active'), (2, 20, 'active'), (2, 5, 'active'), (3, 99, 'active');
"""


def test_tables_of_runs_stand_newest_first(tmp_path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as made:
        made.executescript(TABLES)
    assert ui.run_tables(tmp_path / "a.db", 5001) == {
        name: f"http://127.0.0.1:5001/#/experiments/{n}/runs?workflowType=machine_learning"
        for name, n in (("insituml in transit", 2), ("insituml", 1))
    }
    (tmp_path / "b.db").write_bytes(b"junk" * 1000)
    with pytest.raises(UserError, match=r"b\.db is no store of MLflow"):
        ui.run_tables(tmp_path / "b.db", 5001)


def test_what_cannot_be_shown_is_one_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(UserError, match="is no store of MLflow: no such table"):
        ui.command_for([])
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as made:
        made.executescript(TABLES)
        made.execute("DELETE FROM runs")
        made.commit()
    with pytest.raises(UserError, match=r"mlflow\.db holds no runs yet"):
        ui.command_for([])


@pytest.mark.parametrize(
    "address, said",
    [
        ("http://somewhere:5000", r"in http://somewhere:5000 \(MLFLOW_.*\); open that address"),
        ("postgresql://me:secret@somewhere/runs", "serve them by mlflow ui .*--backend-store-uri"),
        ("sqlite:///others.db", r"recorded in \S+/others\.db \(MLFLOW_TRACKING_URI\); serve them"),
        ("nowhere", "MLFLOW_TRACKING_URI is 'nowhere'; expected the address"),
    ],
)
def test_where_runs_are_elsewhere_that_is_said(address, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UserError, match=said) as refused:
        ui.command_for([])
    assert "secret" not in str(refused.value)


def test_what_lies_here_is_old_where_runs_are_recorded_elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as made:
        made.executescript(TABLES)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    with pytest.raises(UserError, match="recorded in http://somewhere:5000"):
        ui.command_for([])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")  # which is the one here
    assert "sqlite:///mlflow.db" in ui.command_for([])


def test_the_charts_are_of_all_methods() -> None:
    assert parse_qs(urlsplit(ui.charts("http://h:1/?workflowType=machine_learning")).query) == {
        "workflowType": ["machine_learning"],
        "compareRunsMode": ["CHART"],
        "searchFilter": ["tags.method != ''"],
        "orderByKey": ["metrics.`final_average_error`"],
        "orderByAsc": ["true"],
    }


def test_the_address_of_the_project_counts_first(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".insituml.json").touch()
    (tmp_path / "conf/tracking").mkdir(parents=True)
    (tmp_path / "conf/tracking/mlflow.yaml").write_text("uri: http://here:1\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:2")
    with pytest.raises(UserError, match=r"in http://here:1 \(tracking\.uri\)"):
        ui.command_for([])
