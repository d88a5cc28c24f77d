"""The environment of its own that Avalanche is installed into, and processes started there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers_protocol import Outcome, Run

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-peers"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# Avalanche asks for no particular torch and would bring a newer one; GEM's solver is left out.
PACKAGES = (f"torch=={version('torch').split('+')[0]}", "avalanche-lib==0.6.0", "quadprog")


class PeersError(RuntimeError):
    """The comparison cannot be made; the message is one line."""


def make_environment(folder: Path = ENVIRONMENT, packages: Sequence[str] = PACKAGES) -> None:
    """Install Avalanche, unless the same packages are there already.

    Raises
    ------
    PeersError
        If that fails; it says what went wrong.
    """
    ready, wanted = folder / ".ready", " ".join(packages)
    if ready.exists() and ready.read_text() == wanted:
        return
    print(f"installing {wanted} into {folder.name} (about 1.5 GB, a minute or two)", flush=True)
    install = ["pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", *install],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PeersError(
                f"{folder.name} could not be made: {_last_line(done.stderr)}; it takes the package "
                f"index: repeat with network, or make it by hand with pip install {wanted}"
            )
    ready.write_text(wanted)


def outcomes(side: str, setting: Path, runs: Sequence[Run]) -> list[Outcome]:
    """Do runs one after the other in a fresh process with one thread.

    Parameters
    ----------
    side
        ``"insituml"`` or ``"avalanche"``.
    setting
        File with the setting.
    runs
        What to train.

    Raises
    ------
    PeersError
        If the process fails; a run that fails is an outcome.
    """
    python = sys.executable if side == "insituml" else str(ENVIRONMENT / "bin" / "python")
    script = ROOT / "benchmarks" / f"peers_{side}.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(THREADS, "1")}
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "runs.json", Path(folder) / "outcomes.json"
        asked.write_text(json.dumps([asdict(run) for run in runs]))
        done = subprocess.run(
            [python, str(script), str(setting), str(asked), str(answered)],
            capture_output=True,
            text=True,
            env=environment,
        )
        if done.returncode:
            raise PeersError(f"{script.name} failed: {_last_line(done.stderr)}")
        return [Outcome(**outcome) for outcome in json.loads(answered.read_text())]


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"
