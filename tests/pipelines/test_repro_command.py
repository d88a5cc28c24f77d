"""``insituml repro`` calls DVC as ``make repro`` does; ``--debug`` walks through every stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from insituml_pipelines import evaluate, generate, plot, repro, split, train, ui
from insituml_pipelines.common import log
from insituml_pipelines.common.composition import CONF, composed
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.runs import debugging

ROOT = Path(__file__).parents[2]


@pytest.fixture
def called(tmp_path, monkeypatch) -> list[tuple[list[str], dict[str, str]]]:
    """Work in an empty folder, and note what would be started."""
    calls = []

    def run(command: list[str], variables: dict[str, str]) -> int:
        calls.append((command, variables))
        return 3 if "broken" in command else 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(log.QUIET, "")
    monkeypatch.setattr(repro, "run_to_its_end", run)
    return calls


def test_stages_find_this_python_and_tell_nobody() -> None:
    found = repro.environment({"PATH": "/bin", "DVC_NO_ANALYTICS": "0", "HOME": "/h"})
    assert found["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/bin"
    assert found["DVC_NO_ANALYTICS"] == found["DO_NOT_TRACK"] == "1"
    assert found["HOME"] == "/h"
    assert repro.environment({})["PATH"] == str(Path(sys.executable).parent)


def test_dvc_runs_what_was_asked_and_results_are_named(called, capsys) -> None:
    Path("dvc.yaml").write_text("stages: {}\n")
    Path("results").mkdir()
    Path("results/leaderboard.md").write_text("| naive | 0.1 |\n")
    assert repro.main(["plot", "--force"]) == 0
    ((command, environment),) = called
    assert command == [sys.executable, "-m", "dvc", "repro", "plot", "--force"]
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    said = capsys.readouterr().out
    assert "| naive | 0.1 |" in said
    assert "figures/leaderboard.png" in said


def test_what_fails_keeps_its_exit_code_and_shows_no_old_results(called, capsys) -> None:
    Path("dvc.yaml").write_text("stages: {}\n")
    Path("results").mkdir()
    Path("results/leaderboard.md").write_text("of an earlier run")
    assert repro.main(["broken"]) == 3
    assert capsys.readouterr().out == ""


def test_quiet_is_passed_on(called, monkeypatch, capsys) -> None:
    monkeypatch.setenv(log.QUIET, "1")
    Path("dvc.yaml").write_text("stages: {}\n")
    assert repro.main([]) == 0
    assert called[0][0][-2:] == ["repro", "--quiet"]
    assert called[0][1][log.QUIET] == "1"
    assert capsys.readouterr().out == ""


def test_a_folder_that_is_no_project_costs_one_line(called) -> None:
    with pytest.raises(UserError, match=r"has no dvc\.yaml; change into .*insituml init"):
        repro.main([])
    assert called == []


STAGE = """
import time
try:
    print("runs", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.6)
    print("stage cleaned up", flush=True)
"""
DVC = f"""
import signal, subprocess, sys
stage = subprocess.Popen([sys.executable, "-c", {STAGE!r}])
signal.signal(signal.SIGINT, signal.SIG_IGN)
stage.wait()
print("DVC noted it", flush=True)
"""
CALL = """
import signal, sys
from insituml_pipelines import repro
from insituml_pipelines.common.stopping import code_of
signal.signal(signal.SIGINT, {handler})
try:
    repro.run_to_its_end([sys.executable, "-c", {dvc!r}], repro.environment({{}}))
except KeyboardInterrupt as stop:
    sys.exit(code_of(stop))
"""


def called_for(dvc: str, handler: str = "signal.default_int_handler") -> subprocess.Popen[str]:
    script = CALL.format(dvc=dvc, handler=handler)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "runs\n"
    return process


@pytest.mark.parametrize(
    "number, handler",
    [
        (signal.SIGINT, "signal.default_int_handler"),
        (signal.SIGTERM, "signal.default_int_handler"),
        (signal.SIGTERM, "signal.SIG_IGN"),  # as in the background of a shell
    ],
)
def test_a_stage_and_dvc_end_by_themselves_when_they_are_stopped(number, handler) -> None:
    process = called_for(DVC, handler)
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert said == "stage cleaned up\nDVC noted it\n"
    assert process.returncode == 128 + number


def test_a_second_signal_kills_what_does_not_end() -> None:
    process = called_for(DVC.replace("0.6", "60"))
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    # Its end of the pipe is open until the stage is gone too.
    said, _ = process.communicate(timeout=30)
    assert (said, process.returncode) == ("", 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    "given, said",
    [
        ("pipeline.methods=[naive,nave]", "pipeline.methods has 'nave', of which there is no file"),
        ("pipeline.methods=naive", "pipeline.methods is 'naive'; expected a list"),
        ("pipeline.methods=[]", "expected a list"),
    ],
)
def test_methods_are_looked_at_before_anything_runs(
    given, said, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        repro.main(["--debug", given])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_a_choice_that_is_missing_costs_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "pipeline.yaml").write_text("experiment: toy8\n")
    monkeypatch.setattr(debugging, "CONF", tmp_path)
    with pytest.raises(UserError, match="has no data; add the line `data: NAME`"):
        debugging.walk_through([])


def test_the_profile_overrides_what_experiments_ask_for() -> None:
    for experiment in (file.stem for file in (CONF / "experiment").glob("*.yaml")):
        training = composed([f"experiment={experiment}", "training=debug"]).training
        assert (training.seeds, training.workers, training.budget) == ([0], 0, 32)


def test_every_stage_is_called_below_debug_and_nothing_else_is_touched(
    tmp_path, monkeypatch, capsys
) -> None:
    calls: list[tuple[str, str, list[str]]] = []

    def note(name: str) -> Any:
        return lambda: calls.append((name, Path.cwd().name, sys.argv[1:]))

    for module in (generate, split, train, evaluate, plot):
        monkeypatch.setattr(module, "command", note(module.__name__.rpartition(".")[2]))
    monkeypatch.chdir(tmp_path)
    argv = list(sys.argv)
    given = ["data=openpmd", "data.path=mine", "pipeline.methods=[naive,joint_converged]"]
    debugging.walk_through(given)
    assert [(name, where) for name, where, _ in calls] == [
        (name, "debug")
        for name in ("generate", "split", "train", "evaluate", "train", "evaluate", "plot")
    ]
    assert (Path.cwd(), sys.argv) == (tmp_path, argv)
    assert [file.name for file in tmp_path.iterdir()] == ["debug"]
    chosen = yaml.safe_load((CONF / "pipeline.yaml").read_text())
    for _, _, given in calls:
        assert {f"experiment={chosen['experiment']}", "training=debug", "tracking=none"} <= {*given}
        assert f'data.path="{tmp_path / "mine"}"' in given
        assert "data.split.tasks=2" in given
    trained = [given for name, _, given in calls if name == "train"]
    assert "method=naive" in trained[0]
    ending = ["method.max_epochs=2", "method.rounds=1", "method.cumulative_start=false"]
    assert trained[1][-4:] == ["method=joint_converged", *ending]


def test_what_cannot_be_composed_costs_one_line_and_leaves_no_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="training accepts: epochs, "):
        debugging.walk_through(["training.epoch=3"])
    assert list(tmp_path.iterdir()) == []


def test_another_experiment_brings_its_own_choices(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(debugging, "_call", lambda name, command, given: seen.append(given))
    monkeypatch.chdir(tmp_path)
    seen: list[list[str]] = []
    debugging.walk_through(["experiment=toy8", "data.split.tasks=4"])
    profile = ["training=debug", "tracking=none"]
    assert seen[0] == [*profile, "experiment=toy8", "data.split.tasks=4"]
    debugging.walk_through(["experiment=lwfa", "data.split.tasks=3"])
    assert seen[-1][-1] == "data.source.iterations=20"
    debugging.walk_through(["experiment=lwfa", "data.source.iterations=30"])
    assert seen[-1][-1] == "data.split.tasks=2"
    debugging.walk_through(["experiment=digits"])  # its tasks are groups of labels
    assert seen[-1] == [*profile, "experiment=digits"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--port", "x"], "--port is 'x'; expected a number"),
        (["--port=70000"], "--port is '70000'"),
        (["now"], "'now' is nothing that `insituml ui` takes"),
        ([], "has no mlflow.db yet; run `insituml repro` first"),
    ],
)
def test_ui_refuses(arguments, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        ui.command_for(arguments)


@pytest.mark.parametrize("arguments", [["--port", "5123"], ["--port=5123"]])
def test_ui_serves_this_machine_only(arguments, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mlflow.db").touch()
    monkeypatch.setattr(ui, "run_tables", lambda database, port: {"insituml": "an address"})
    command = ui.command_for(arguments)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "5123"]
