"""Run what changed of the whole pipeline, or walk through all of it in seconds."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from insituml_pipelines.common import log
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import EXTERNAL
from insituml_pipelines.common.stopping import WORDS, code_of, handled_by, interruptible

DESCRIPTION = """Run what changed of the pipeline: data, training, evaluation, figures, stream.

usage: insituml repro [STAGE ...] [OPTION ...]
       insituml repro --debug [KEY=VALUE ...]

  STAGE        run it and what it needs, such as plot; without one: all of dvc.yaml
  OPTION       any of `dvc repro`, such as --dry (what would run), --force, --single-item

  --debug      see in seconds whether all of it runs: the chosen experiment with training=debug (a
               few steps of one seed), from generate to plot, in a folder of its own, debug/.
               Nothing is tracked, no result elsewhere is touched. Other values may be given, such
               as experiment=toy8 or pipeline.methods=[naive,ewc]
  -q, --quiet  say errors alone

What runs is chosen in conf/pipeline.yaml; `insituml select experiment=...` changes it.
"""
UNTRACED = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
"""Whatever the user's settings: nothing is told to anyone."""
RESULTS = {
    "figures": "figures/ (start with figures/leaderboard.png)",
    "leaderboard": "results/leaderboard.md, results/leaderboard.csv",
    "runs": "insituml ui",
}


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which stages find this Python, and tell nothing to anyone."""
    path = [str(Path(sys.executable).parent), *filter(None, [variables.get("PATH")])]
    return {**variables, "PATH": os.pathsep.join(path), **UNTRACED}


def reproduce(arguments: Sequence[str]) -> int:
    """Let DVC run what changed; return its exit code.

    Raises
    ------
    UserError
        If there is nothing here that could be run, or no DVC.
    """
    here = Path.cwd()
    if not (here / "dvc.yaml").is_file():
        raise UserError(
            f"{here} has no dvc.yaml; change into the folder of your project, or of a clone "
            "(insituml init FOLDER makes a project)"
        )
    if importlib.util.find_spec("dvc") is None:
        raise UserError("DVC is not installed; pip install 'insituml[pipeline]'", EXTERNAL)
    quiet = ["--quiet"] if log.is_quiet() else []
    command = [sys.executable, "-m", "dvc", "repro", *quiet, *arguments]
    return run_to_its_end(command, environment(os.environ))


def run_to_its_end(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run a command; return its exit code.

    A signal lets it, and all that it started, end by themselves as on Ctrl-C; a second one kills
    them.

    Raises
    ------
    KeyboardInterrupt
        With the exit code as its argument, where a signal came, once the command has ended.
    """
    running: list[subprocess.Popen[bytes]] = []
    came: list[int] = []

    def pass_on() -> None:
        # DVC waits for its stage on SIGINT; any other signal would end DVC alone.
        number = signal.SIGINT if len(came) == 1 else signal.SIGKILL
        for process in running:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, number)

    def hear(number: int, frame: object) -> None:
        came.append(128 + number)
        pass_on()

    with handled_by(hear):
        # A session of its own: what a terminal sends to all would arrive a second time.
        process = subprocess.Popen(
            command, env=variables, start_new_session=True, preexec_fn=_heed_interruption
        )
        running.append(process)
        if came:  # while it started
            pass_on()
        code = process.wait()
    if came:
        raise KeyboardInterrupt(came[0])
    return code


def _heed_interruption() -> None:
    # A shell's background jobs ignore SIGINT, which is what is passed on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def say_where_results_are(folder: Path) -> None:
    """Print the leaderboard, and where to look on."""
    board = folder / "results/leaderboard.md"
    if not board.is_file():
        return
    log.say(f"\n{board.read_text(encoding='utf-8')}")
    for name, place in RESULTS.items():
        log.say(f"{name + ':':<13}{place}")


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    if "--debug" in arguments:
        from insituml_pipelines.common.ending import failing_in_one_line
        from insituml_pipelines.runs.debugging import walk_through

        with failing_in_one_line():
            walk_through([argument for argument in arguments if argument != "--debug"])
        return 0
    code = reproduce(arguments)
    if code == 0 and "--dry" not in arguments:
        say_where_results_are(Path.cwd())
    return code


def command() -> None:
    """Run from the command line."""
    given = log.without_quiet(sys.argv[1:])
    if {"-h", "--help"} & set(given):
        print(DESCRIPTION, end="")
        return
    try:
        with interruptible():
            code = main(given)
    except UserError as error:
        log.error(str(error))
        code = error.code
    except KeyboardInterrupt as stop:
        log.error(WORDS)
        code = code_of(stop)
    raise SystemExit(code)


if __name__ == "__main__":
    command()
