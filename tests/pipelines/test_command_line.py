"""``insituml``: commands by name, quick to answer, one line on a wrong name."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from insituml.version import __version__
from insituml_pipelines.command_line import GROUPS, commands, help_text, main

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insituml_pipelines.command_line.end_at_once", lambda: None)


def test_every_module_with_a_command_has_a_name_and_every_name_a_module() -> None:
    stages = {
        file.stem
        for file in (ROOT / "insituml_pipelines").glob("*.py")
        if "\ndef command(" in file.read_text()
    }
    named = {module for group in GROUPS.values() for module, _ in group.values()}
    assert stages <= named
    assert {module.rpartition(".")[2] for module in commands().values()} == stages


@pytest.mark.parametrize("asked", ["--help", "-h", "help"])
def test_help_lists_what_there_is_in_a_line_each(asked, capsys) -> None:
    assert main([asked]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    listed = {line.split()[0] for line in lines if line.startswith("  ")}
    assert listed == set(commands())


def test_nothing_asked_is_answered_by_the_help(capsys) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out == help_text()


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"insituml {__version__}\n"


@pytest.mark.parametrize(
    "given, said",
    [
        ("trian", "no command 'trian'; did you mean train"),
        ("xyzzyx", "no command 'xyzzyx'; there are: doctor, evaluate, "),
        ("-x", "-x is no option of insituml itself"),
    ],
)
def test_an_unknown_command_costs_one_line(given, said, capsys) -> None:
    assert main([given]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error


@pytest.mark.parametrize("name", ["new-experiment", "new_experiment"])
def test_the_command_gets_what_stands_after_its_name(name, monkeypatch) -> None:
    taken: list[list[str]] = []
    module = importlib.import_module("insituml_pipelines.new_experiment")
    monkeypatch.setattr(module, "command", lambda: taken.append(sys.argv[1:]))
    monkeypatch.setattr(sys, "argv", ["insituml", name, "mine", "--force"])
    assert main() == 0
    assert taken == [["mine", "--force"]]


def test_the_console_script_is_this_function() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"insituml": f"{main.__module__}:{main.__name__}"}


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from insituml_pipelines.command_line import main; main(['--help']);"
        "heavy = {'torch', 'numpy', 'hydra', 'omegaconf', 'pydantic', 'dvc', 'mlflow', 'rich'};"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("missing, ours", [("omegaconf", False), ("insituml.gone", True)])
def test_what_is_not_installed_is_named(missing, ours, monkeypatch, capsys) -> None:
    def load(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr("insituml_pipelines.command_line.importlib.import_module", load)
    monkeypatch.setattr(sys, "argv", ["insituml", "train"])
    if ours:  # which no installation mends
        with pytest.raises(ModuleNotFoundError):
            main()
        return
    assert main() == 1
    said = "error: omegaconf is not installed; pip install 'insituml[pipeline]'\n"
    assert capsys.readouterr().err == said
