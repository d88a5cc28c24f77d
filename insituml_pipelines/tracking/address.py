"""Which store runs are recorded in: an SQLite file, or what an address leads to."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from insituml_pipelines.tracking.store import StoreError, check_name

VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own, by which all of its programs find their store."""
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""By scheme: what is taken, and where it listens unless the address says so."""
PATIENCE = 5.0
"""Seconds in which a server must answer; MLflow itself would try for minutes."""


@dataclass(frozen=True)
class Address:
    """Of a store.

    Parameters
    ----------
    uri
        As MLflow takes it.
    label
        What messages call it: no user or password is in it.
    beside
        The store's file; of a server a name in the working folder, beside which what it could not
        take is kept.
    is_file
        Whether the store is a file that is made and looked at here.
    """

    uri: str
    label: str
    beside: Path
    is_file: bool

    def without_password(self, text: str) -> str:
        """Return a message of others, which may name the whole address, without the password."""
        given = self.uri.partition("://")[2].rpartition("@")[0]
        return text.replace(f"{given}@", "") if given else text

    def check_reachable(self) -> None:
        """Try whether a server listens.

        Raises
        ------
        StoreError
            If none does.
        """
        if self.is_file:
            return
        parts = urlsplit(self.uri)
        if not parts.hostname:  # such as a database reached by a local socket
            return
        port = parts.port or PORTS[_scheme(self.uri)]
        try:
            socket.create_connection((parts.hostname, port), timeout=PATIENCE).close()
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"no server answers at {parts.hostname}:{port}: {reason}") from error


def address_of(database: str | Path, uri: str | None) -> Address:
    """Return where to record.

    Parameters
    ----------
    database
        SQLite file, which counts where no address is given.
    uri
        Of a tracking server or a database; None: what ``MLFLOW_TRACKING_URI`` says, if anything.

    Raises
    ------
    ValueError
        If neither is one that can be written; the message says what is taken.
    """
    given, name = uri, "tracking.uri"
    if given is None and os.environ.get(VARIABLE):
        given, name = os.environ[VARIABLE], VARIABLE
    if given is None:
        check_name(str(database))
        return _file(Path(database))
    if given.startswith("sqlite:///"):
        check_name(given.removeprefix("sqlite:///"))
        return _file(Path(given.removeprefix("sqlite:///")))
    parts = urlsplit(given)
    try:
        known = _scheme(given) in PORTS and (parts.hostname or not given.startswith("http"))
        port = parts.port  # noqa: F841 - refuses what is no number
    except ValueError:
        known = False
    if not known or not given.isprintable():
        raise ValueError(
            f"{name} is {_without_password(given)!r}; expected the address of a tracking server or "
            "a database, such as http://127.0.0.1:5000, postgresql://user@host/name or "
            "sqlite:///mlflow.db"
        )
    label = _without_password(given)
    plain = re.sub(r"\W+", "_", label.partition("://")[2]).strip("_")
    return Address(given, label, Path(f"mlflow_{plain}").absolute(), is_file=False)


def _file(database: Path) -> Address:
    path = database.absolute()
    return Address(f"sqlite:///{path}", path.name, path, is_file=True)


def _scheme(uri: str) -> str:
    """Return the scheme of an address without a driver, such as in ``postgresql+psycopg2``."""
    return urlsplit(uri).scheme.partition("+")[0]


def _without_password(uri: str) -> str:
    """Return an address without user, password and options, also one that is none."""
    scheme, there, rest = uri.partition("://") if "://" in uri else ("", "", uri)
    plain = re.split(r"[?#]", rest)[0]
    place = plain.rpartition("@")[2]
    if plain == place and "@" in rest:  # a password with ? or # in it, written as it is
        place = re.sub(r"^([^/:\[]*):(?!\d+(/|$)).*", r"\1", place)
    return f"{scheme}{there}{place}"
