"""An MLflow store in an SQLite file: made whole or not at all, and looked at before it is used."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

FIRST_TABLES = {"experiments", "runs", "tags", "metrics", "params", "alembic_version"}
"""Those with which MLflow begins a store."""
PATIENCE = 20.0
"""Seconds to wait for another process that writes."""

QUICKLY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""MLflow's own variables, unless they are set: it would try seven times, for minutes."""


class StoreError(RuntimeError):
    """A store that cannot be written, and what to do."""


def check_name(database: str) -> None:
    """Refuse what names no file.

    Raises
    ------
    ValueError
        Saying what is taken.
    """
    expected = "expected a file, such as tracking.database=mlflow.db"
    if not database.strip():
        raise ValueError(f"tracking.database is {database!r}; {expected}")
    if "://" in database or database.startswith("sqlite:"):
        raise ValueError(
            f"tracking.database is {database!r}, an address; {expected}, or give the address as "
            "tracking.uri"
        )
    if not database.isprintable() or set(database) & set("?#"):
        raise ValueError(
            f"tracking.database is {database!r}, which holds a character that SQLite's addresses "
            f"do not take; {expected}"
        )
    path = Path(database).absolute()
    if path.is_dir():
        raise ValueError(f"tracking.database is {database!r}, a folder; {expected}")
    place = path.parent
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise ValueError(f"tracking.database is {database!r}, but {place} is no folder")
    if not path.exists() and not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"tracking.database is {database!r}, but {place} cannot be written")


def open_store(database: Path) -> MlflowClient:
    """Return a client of the store, made when there is none; to be called under a lock.

    Raises
    ------
    StoreError
        In one line, with what to do.
    """
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # says it in many lines
    check_store(database)
    if database.exists() and (found := _schema(database)) != _current_schema():
        if _holds_runs(database):
            raise StoreError(
                f"its schema is {found}, of another version of MLflow; back it up and run `mlflow "
                f"db upgrade sqlite:///{database}`, or name another: tracking.database=FILE"
            )
        aside = database.with_name(f"{database.name}.broken")
        database.replace(aside)
        print(
            f"tracking: {database.name} was not whole and held no run: it is {aside.name} now, and "
            "a new one is made",
            file=sys.stderr,
        )
    if not database.exists():
        _create(database)
    return MlflowClient(f"sqlite:///{database}")


def open_remote(uri: str) -> MlflowClient:
    """Return a client of a tracking server or a database that is none of our files.

    What does not answer fails soon: what was to be recorded is kept and recorded later.
    """
    for variable, value in QUICKLY.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient(uri)


def _current_schema() -> str:
    from mlflow.store.db.utils import _get_latest_schema_revision

    return str(_get_latest_schema_revision())


def _schema(database: Path) -> str:
    """Return the last step of MLflow's that made the tables of a store; none: not made whole."""
    with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:  # there is no such table
            return "none"
    return str(row[0]) if row else "none"


def check_store(database: Path) -> None:
    """Look at a store without MLflow, which would try again and again, for minutes.

    A file without content is deleted: it is no store yet.

    Raises
    ------
    StoreError
        If it is damaged, of another program, locked, or cannot be written.
    """
    if not os.path.lexists(database):
        return
    elsewhere = "move it away, or name another: tracking.database=FILE"
    if not database.is_file():
        raise StoreError(f"it is no file; {elsewhere}")
    try:
        with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in rows if not name.startswith("sqlite_")}
            whole = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            # Only writing says whether a journal can be made beside it.
            connection.execute("CREATE TABLE insituml_probe (x)")
            connection.rollback()
    except sqlite3.OperationalError as error:
        reason = str(error)
        if "locked" in reason:
            remedy = "another program writes to it: end that, or wait"
        elif "readonly" in reason or "unable to open" in reason:
            remedy = f"give write permission to it and to {database.parent}"
        else:
            remedy = elsewhere
        raise StoreError(f"{reason}; {remedy}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{error}; {elsewhere}") from error
    if not whole:
        raise StoreError(f"it is damaged; {elsewhere}")
    if not tables:
        database.unlink()
    elif "experiments" not in tables and not tables <= FIRST_TABLES:
        raise StoreError(f"it is a database of another program; {elsewhere}")


def _create(database: Path) -> None:
    """Make a store under another name: MLflow takes seconds, and half a store stays broken."""
    from mlflow import MlflowClient

    made = database.with_name(f".{database.name}.new")
    for left_over in (made, *(made.with_name(made.name + end) for end in ("-journal", "-wal"))):
        left_over.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
    made.replace(database)


def _holds_runs(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
        try:
            return bool(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
        except sqlite3.OperationalError:  # there is no such table
            return False


def experiments_with_runs(database: Path) -> list[tuple[str, str]]:
    """Return id and name of experiments that hold a run, the one with the newest run first.

    Raises
    ------
    UserError
        If the file is no store.
    """
    query = (
        "SELECT e.experiment_id, e.name FROM experiments e JOIN runs r USING (experiment_id) "
        "WHERE e.lifecycle_stage = 'active' AND r.lifecycle_stage = 'active' "
        "GROUP BY e.experiment_id ORDER BY max(r.start_time) DESC"
    )
    try:
        with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
            return [(str(number), str(name)) for number, name in connection.execute(query)]
    except sqlite3.DatabaseError as error:
        raise UserError(f"{database} is no store of MLflow: {error}") from error
