"""A store is looked at before MLflow is, and what names none is refused at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.tracking import store
from insituml_pipelines.tracking.opening import open_tracker
from insituml_pipelines.tracking.store import StoreError, check_store


@pytest.mark.parametrize(
    "name, reason",
    [
        ("", "expected a file"),
        ("  ", "expected a file"),
        (".", "a folder"),
        ("..", "a folder"),
        ("/", "a folder"),
        ("folder", "a folder"),
        ("http://localhost:5000", "an address"),
        ("https://x/y", "an address"),
        ("postgresql://a@b/c", "an address"),
        ("file:///tmp/x", "an address"),
        ("sqlite:///mlflow.db", "an address"),
        ("sqlite:mlflow.db", "an address"),
        ("a?b.db", "holds a character"),
        ("a#b.db", "holds a character"),
        ("a\nb.db", "holds a character"),
        ("file/x.db", "file is no folder"),
        ("file/deep/x.db", "file is no folder"),
    ],
)
def test_what_names_no_file_is_refused_in_one_line(name, reason, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    target = "insituml_pipelines.tracking.mlflow.MlflowTracker"
    with pytest.raises(UserError, match=reason) as caught:
        open_tracker({"_target_": target, "database": name, "experiment": "x"})
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def database_of(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def test_the_reason_and_the_remedy_are_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    check_store(tmp_path / "none.db")
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    with pytest.raises(StoreError, match=r"not a database; move it away, or name another"):
        check_store(tmp_path / "junk.db")
    foreign = database_of(tmp_path / "foreign.db", "CREATE TABLE addresses (name)")
    before = foreign.read_bytes()
    with pytest.raises(StoreError, match="of another program; move it away"):
        check_store(foreign)
    assert foreign.read_bytes() == before
    with pytest.raises(StoreError, match="it is no file; move it away"):
        check_store(tmp_path)
    ours = database_of(tmp_path / "ours.db", "CREATE TABLE experiments (x)")
    check_store(ours)
    with closing(sqlite3.connect(ours)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"locked; another program writes to it"):
            check_store(ours)
    content = bytearray(ours.read_bytes())
    content[4096:] = b"x" * (len(content) - 4096)
    ours.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="move it away"):
        check_store(ours)


def test_an_empty_file_is_no_store_yet(tmp_path) -> None:
    (tmp_path / "a.db").touch()
    check_store(tmp_path / "a.db")
    assert not (tmp_path / "a.db").exists()
