"""Browse runs in the MLflow UI, on this machine only."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from insituml_pipelines.common import log
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.repro import environment

DESCRIPTION = """Browse runs in the MLflow UI, on this machine only; Ctrl-C ends it.

usage: insituml ui [--port PORT]

  --port PORT  where it listens on 127.0.0.1; by default 5000
"""
DATABASE = "mlflow.db"
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
    if not Path(DATABASE).is_file():
        raise UserError(f"{Path.cwd()} has no {DATABASE} yet; run `insituml repro` first")
    store = ["--backend-store-uri", f"sqlite:///{DATABASE}"]
    log.say(f"open http://127.0.0.1:{port} (Ctrl-C ends it)")
    return [sys.executable, "-m", "mlflow", "ui", *store, "--host", "127.0.0.1", "--port", port]


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
