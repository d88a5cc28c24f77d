"""`make` says in one line why it cannot make an environment, and leaves no half one behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def script(file: Path, body: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def make(project: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        ["make", *arguments],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "body, said",
    [
        (None, "error: no {python}; install Python 3.11 or newer (on Debian and Ubuntu: python3"),
        ("exit 1", "error: {python} does not run, or is older than Python 3.11"),
        (
            'case "$2" in venv) mkdir -p .venv/bin; exit 1;; esac',
            "error: {python} cannot make the environment .venv (see above); on Debian",
        ),
    ],
)
def test_what_is_missing_is_said(body, said, project, tmp_path) -> None:
    python = tmp_path / "pythons/python3.11"
    if body is not None:
        script(python, body)
    code, output = make(project, "setup", f"PYTHON={python}")
    assert code == 2
    assert said.format(python=python) in output
    assert not (project / ".venv").exists()


def test_an_environment_without_pip_is_named(project) -> None:
    script(project / ".venv/bin/python", "exit 1")
    code, output = make(project, "setup")
    assert code == 2
    assert "error: the environment .venv is not whole; remove it" in output


WORKS = 'case "$1" in -m) echo "$0 was taken"; exit 1;; esac'
NO_VENV = 'case "$2" in *ensurepip*|venv) exit 1;; esac'
SHIM = "exit 127"


@pytest.mark.parametrize(
    "pythons, taken, said",
    [
        (
            {"python3.11": WORKS, "python3.12": WORKS, "python3.13": WORKS},
            "python3.13",
            "was taken",
        ),
        (
            {"python3.11": WORKS, "python3.12": NO_VENV, "python3.13": SHIM},
            "python3.11",
            "was taken",
        ),
        ({"python3.13": SHIM, "python3": WORKS}, "python3", "was taken"),
        ({"python3.12": NO_VENV, "python3.11": SHIM}, "python3.12", "cannot make the environment"),
        ({"python3.11": SHIM}, "python3.11", "does not run, or is older"),
    ],
)
def test_the_newest_python_that_works_is_taken(pythons, taken, said, project, tmp_path) -> None:
    folder = tmp_path / "bin"
    for name, body in pythons.items():
        script(folder / name, body)
    for tool in ("make", "sh", "test", "rm"):
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    code, output = make(project, "setup", PATH=str(folder))
    assert code == 2
    assert f"{folder / taken} {said}" in output


def test_help_needs_nothing(project) -> None:
    code, output = make(project, "help")
    assert code == 0
    assert "make repro" in output


def test_no_wheel_is_built_of_a_configuration_that_is_not_committed(project) -> None:
    script(project / ".venv/bin/python", "touch built")
    (project / ".venv/.ready").touch()
    (project / "conf").mkdir()
    (project / "conf/config.yaml").write_text("name: x\n")
    (project / "notes.txt").touch()  # no part of a wheel
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    code, output = make(project, "wheel")
    assert code != 0
    assert "error: what a wheel gives to every project is changed here" in output
    assert "?? conf/" in output
    assert not (project / "built").exists()
    subprocess.run([*git, "add", "conf"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    assert make(project, "wheel")[0] == 0
    assert (project / "built").exists()
