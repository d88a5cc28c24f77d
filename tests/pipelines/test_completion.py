"""The Tab key: commands, groups, choices and keys, in bash and by the words alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from insituml_pipelines.command_line import commands, main
from insituml_pipelines.common.composition import CONF
from insituml_pipelines.completion import SCRIPTS, candidates

ROOT = Path(__file__).parents[2]
METHODS = sorted(f"method={file.stem}" for file in (CONF / "method").glob("*.yaml"))


def offered(line: str) -> list[str]:
    return candidates(line, commands())


@pytest.fixture(autouse=True)
def in_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("insituml_pipelines.command_line.end_at_once", lambda: None)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("insituml tr", ["train"]),
        ("insituml -q tr", ["train"]),
        ("insituml --comp", ["--completion"]),
        ("insituml trian ", []),
        ("insituml train meth", ["method.", "method="]),
        ("insituml train method=ew", ["method=ewc", "method=ewc_replay"]),
        ("insituml train method=", METHODS),
        ("insituml train training.ep", ["training.epochs="]),
        ("insituml train method=ewc method.", ["chunk_size=", "fisher_samples=", "strength="]),
        ("insituml train model=mlp model.hid", ["model.hidden_sizes="]),
        ("insituml train experiment=toy8 model.hid", ["model.hidden_sizes="]),
        ("insituml train training=debug training.ba", ["training.batch_size="]),
        ("insituml train training.epochs=", []),
        ("insituml train nothing.", []),
        ("insituml train --mul", ["--multirun"]),
        ("insituml repro --de", ["--debug"]),
        ("insituml repro ev", ["evaluate"]),
        ("insituml inspect run", []),  # the shell's own completion of files
    ],
)
def test_words(line, expected) -> None:
    found = [word for word in offered(line) if not word.startswith("method._")]
    if line.endswith("method."):
        found = [word.removeprefix("method.") for word in found]
    assert found == expected


def test_all_commands_come_first() -> None:
    assert set(offered("insituml ")) >= commands().keys()


def test_the_stages_are_those_of_dvc_yaml() -> None:
    import yaml

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert offered("insituml repro ") == sorted(stages)


def test_another_clone_completes_from_its_own(tmp_path, monkeypatch) -> None:
    (tmp_path / "conf/method").mkdir(parents=True)
    for name in ("dvc.yaml", "conf/config.yaml", "conf/method/ewc_of_theirs.yaml"):
        (tmp_path / name).touch()
    below = tmp_path / "notes"
    below.mkdir()
    for folder in (tmp_path, below):
        monkeypatch.chdir(folder)
        assert offered("insituml train method=ew") == ["method=ewc_of_theirs"]


def test_neither_hydra_nor_torch_is_loaded() -> None:
    code = (
        "import sys; from insituml_pipelines.command_line import main;"
        "main(['--complete', 'insituml train training.']);"
        "assert not {'torch', 'numpy', 'hydra', 'omegaconf', 'pydantic'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("arguments", [[], ["fish"], ["bash", "zsh"]])
def test_other_shells_are_refused(arguments, capsys) -> None:
    assert main(["--completion", *arguments]) == 2
    assert "--completion needs one of bash, zsh" in capsys.readouterr().err


def test_the_script_is_printed(capsys) -> None:
    assert main(["--completion", "bash"]) == 0
    assert capsys.readouterr().out == SCRIPTS["bash"].lstrip()


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_shells_take_their_script(shell) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    subprocess.run([shell, "-n"], input=SCRIPTS[shell], text=True, check=True, timeout=20)


def test_bash_completes(tmp_path) -> None:
    """What bash would put in place of the words that it sees; it splits them at ``=``."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    command = tmp_path / "insituml"
    command.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m insituml_pipelines.command_line "$@"\n'
    )
    command.chmod(0o755)
    asks = """
    ask() {
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=(insituml) COMPREPLY=()
        compopt() { echo "compopt $1 $2"; }
        _insituml
        echo "${COMPREPLY[@]}"
    }
    ask 'insituml prod'
    ask 'insituml train method=ewc_'
    ask 'insituml train training.epo'
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", SCRIPTS["bash"] + asks],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "produce",
        "ewc_replay",
        "compopt -o nospace",
        "training.epochs=",
    ]
    assert done.stderr == ""
