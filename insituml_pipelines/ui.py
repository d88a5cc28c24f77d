"""Browse recorded runs in the MLflow UI, on this machine only; it opens on their tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from insituml_pipelines.common import log
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.project_folder import configuration
from insituml_pipelines.repro import environment

DESCRIPTION = """Browse runs in the MLflow UI, on this machine only; Ctrl-C ends it.

usage: insituml ui [--port PORT]

  --port PORT  where it listens on 127.0.0.1; by default 5000
"""
DATABASE, HOST = "mlflow.db", "127.0.0.1"
HIGHEST_PORT = 65535


def command_for(arguments: Sequence[str]) -> list[str]:
    """Return the command that serves the runs of the working directory.

    Raises
    ------
    UserError
        If an argument is wrong, or there are no runs.
    """
    port = "5000"
    match [part for argument in arguments for part in argument.split("=", 1)]:
        case []:
            pass
        case ["--port", given] if given.isdecimal() and 0 < int(given) <= HIGHEST_PORT:
            port = given
        case ["--port", *given]:
            raise UserError(f"--port is {' '.join(given)!r}; expected a number up to 65535")
        case [first, *_]:
            raise UserError(f"{first!r} is nothing that `insituml ui` takes; it takes --port PORT")
    if elsewhere := _elsewhere():
        raise UserError(elsewhere)
    if not Path(DATABASE).is_file():
        raise UserError(f"{Path.cwd()} has no {DATABASE} yet; run `insituml repro` first")
    tables = run_tables(Path(DATABASE), int(port))
    for name, address in tables.items():
        log.say(f"{name}: {address}")
        log.say(f"{name}, charts of all methods: {charts(address)}")
    log.say("open one of these (Ctrl-C ends it)")
    # One worker: each takes seconds to start, and there is one reader.
    store = ["--backend-store-uri", f"sqlite:///{DATABASE}", "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "ui", *store, "--host", HOST, "--port", port]


def _elsewhere() -> str:
    """Say where runs are recorded, whatever lies here; empty: they are recorded here."""
    from insituml_pipelines.tracking.address import VARIABLE, address_of

    own = _uri_of_project()
    if own is None and not os.environ.get(VARIABLE):
        return ""
    try:
        address = address_of(DATABASE, own)
    except ValueError as error:
        return str(error)
    if address.is_file and address.beside.resolve() == Path(DATABASE).resolve():
        return ""
    named = VARIABLE if own is None else "tracking.uri"
    where = f"runs are recorded in {address.beside if address.is_file else address.label} ({named})"
    if urlsplit(address.uri).scheme in ("http", "https"):
        return f"{where}; open that address in a browser"
    return f"{where}; serve them by mlflow ui --host {HOST} --backend-store-uri with its address"


def _uri_of_project() -> str | None:
    """Return ``tracking.uri`` as conf/ has it; what a command line said is not known."""
    import yaml

    file = configuration() / "tracking/mlflow.yaml"
    loaded = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    uri = loaded.get("uri") if isinstance(loaded, dict) else None
    return None if uri is None else str(uri)


def run_tables(database: Path, port: int) -> dict[str, str]:
    """Return the address of each experiment's table of runs, the one with the newest run first.

    MLflow's own first page is about traces of language models.

    Raises
    ------
    UserError
        If the file is no store, or holds no run.
    """
    from insituml_pipelines.tracking.store import experiments_with_runs

    found = experiments_with_runs(database)
    if not found:
        raise UserError(f"{database} holds no runs yet; run `insituml repro` first")
    page = f"http://{HOST}:{port}/#/experiments/{{}}/runs?workflowType=machine_learning"
    return {name: page.format(number) for number, name in found}


def charts(table: str) -> str:
    """Return the address of the charts of an experiment, given that of its table.

    MLflow draws the runs of a table that are unfolded, which parents are not. Sorted by other than
    their time runs have no parents, and the filter leaves each method and seed, the best one first.
    """
    filtered = quote("tags.method != ''")
    order = quote("metrics.`final_average_error`")
    return (
        f"{table}&compareRunsMode=CHART&searchFilter={filtered}&orderByKey={order}&orderByAsc=true"
    )


def command() -> None:
    """Run from the command line."""
    given = log.without_quiet(sys.argv[1:])
    if {"-h", "--help"} & set(given):
        print(DESCRIPTION, end="")
        return
    try:
        found = command_for(given)
    except UserError as error:
        log.error(str(error))
        raise SystemExit(error.code) from None
    os.execve(found[0], found, environment(os.environ))


if __name__ == "__main__":
    command()
