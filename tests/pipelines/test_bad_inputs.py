"""Each bad input costs one line that says what arrived, and changes nothing.

The rows stand in ``bad_inputs.tsv``: what is done to a small project first, the command, and what
the line must name. The commands are called as ``python -m`` calls them, but in this process.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from insituml_pipelines.common.cli import run_stage

TABLE = Path(__file__).with_name("bad_inputs.tsv")
ROWS = [
    line.split("\t")
    for line in TABLE.read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
SMALL = [
    *("data.source.shape=[2,256,2]", "data.split.chunk=[2,32,2]", "data.source.iterations=10"),
    "data.split.validation=null",  # two iterations a task: one to learn, one held out
    *("training.epochs=1", "training.seeds=[0]", "training.workers=0", "tracking=none"),
    *("model=mlp", "model.hidden_sizes=[4]", "transit.open_timeout=20"),
]
OWN = {"plot": ["pipeline.methods=[naive,ewc]"], "train": [], "evaluate": []}
"""What some commands are told, where a row does not say otherwise."""


def call(stage: str, *arguments: str) -> None:
    module = importlib.import_module(f"insituml_pipelines.{stage}")
    sys.argv = [f"insituml_pipelines.{stage}", *arguments]
    run_stage(module.main, module.SECTIONS, "")


def arguments_of(stage: str, given: list[str]) -> list[str]:
    """Put the options of the small project beside those of a row, which win."""
    keys = {argument.partition("=")[0] for argument in given}
    usual = [o for o in (*SMALL, *OWN.get(stage, [])) if o.partition("=")[0] not in keys]
    other_data = any(key == "data" for key in keys)
    if stage in ("generate", "split", "select", "produce", "reconstruct") or other_data:
        usual = [o for o in usual if o.startswith("data.") and not other_data]
    elif stage in ("train", "evaluate", "plot"):
        usual = [o for o in usual if not o.startswith("data.")]
    if any(key in ("model.channels", "training", "~data") for key in keys):
        usual = [o for o in usual if not o.startswith(("model", "training.", "data."))]
    return [] if stage == "select" and given[:1] == ["experiment=bogus"] else usual


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which everything is made but the figures."""
    root = tmp_path_factory.mktemp("project")
    before, argv = Path.cwd(), sys.argv
    os.chdir(root)
    try:
        for stage in ("generate", "split", "train", "evaluate"):
            for method in ("naive", "ewc") if stage in ("train", "evaluate") else ("naive",):
                call(stage, *arguments_of(stage, []), f"method={method}")
    finally:
        os.chdir(before)
        sys.argv = argv
    for name in ("figures", "results"):
        (root / name).mkdir()
        (root / name / "old").write_text("of an earlier command")
    return root


def change(key: str, value: str) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), key: json.loads(value)})


def damage(step: str) -> None:
    """Do one thing to the project in the working directory."""
    what, name, *rest = step.split(" ", 3 if step.startswith("json") else 2)
    path = Path(name)
    match what:
        case "remove":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "write":
            path.write_text(rest[0] if rest else "")
        case "cut":
            os.truncate(path, int(rest[0]))
        case "copy":
            target = Path(rest[0])
            shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
        case "json":
            path.write_text(change(*rest)(path.read_text()))
        case _:
            raise AssertionError(step)


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file with its time and content; of a folder or a pipe, that it is there."""
    found = {}
    for path in sorted(root.rglob("*")):
        regular = path.is_file()
        content = path.read_bytes() if regular else b""
        found[str(path)] = (path.lstat().st_mtime_ns if regular else 0, content)
    return found


def test_there_are_at_least_a_hundred_over_all_commands() -> None:
    assert len(ROWS) >= 100
    commands = {row[1].split()[0] for row in ROWS}
    assert commands == {
        *("generate", "split", "train", "evaluate", "plot"),
        *("select", "stream", "produce", "reconstruct"),
    }


@pytest.mark.parametrize("setup, command, expected", ROWS, ids=[f"{r[1]} {r[0]}" for r in ROWS])
def test_a_bad_input(setup, command, expected, project, tmp_path, monkeypatch, capfd) -> None:
    root = tmp_path / "p"
    shutil.copytree(project, root)
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    for step in setup.split("; ") if setup else ():
        damage(step)
    before = snapshot(root)
    stage, *given = shlex.split(command)
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        call(stage, *arguments_of(stage, given), *given)
    said = capfd.readouterr()
    assert ended.value.code == 2 or "make room" in said.err
    lines = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, said.err
    assert lines[0].startswith("error: ")
    assert expected in lines[0]
    assert "Traceback" not in said.out
    assert "not foreseen" not in lines[0]
    assert snapshot(root) == before
