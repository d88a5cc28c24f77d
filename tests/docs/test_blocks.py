"""Every block of code in the documentation is run, or checked as far as it goes in no time."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

import insituml
from insituml.data import OpenPMDSeries
from insituml_pipelines import command_line
from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.cli import _sweep_of
from insituml_pipelines.common.composition import CONF, check_composition
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import open_to_new_keys

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMPOSED = (
    *("versions", "generate", "split", "train", "evaluate", "plot"),
    *("stream", "produce", "reconstruct", "select"),
)
"""Commands whose arguments are the configuration's."""
TINY = {
    "train": ["training.epochs=1", "training.seeds=[0]", "training.workers=0", "tracking=none"],
    "plot": ["tracking=none"],
    "evaluate": ["tracking=none"],
}
"""What makes a tutorial's command quick, after its own arguments."""


class Block(NamedTuple):
    page: str
    language: str
    text: str


BLOCKS = [
    Block(page.relative_to(ROOT).as_posix(), language, text)
    for page in PAGES
    for language, text in FENCE.findall(page.read_text(encoding="utf-8"))
]


def of(page: str, language: str) -> list[str]:
    return [block.text for block in BLOCKS if (block.page, block.language) == (page, language)]


def lines_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each command, without comments."""
    for line in re.split(r"\n|&&", text.replace("\\\n", " ")):
        if words := shlex.split(line, comments=True):
            yield words


FOLLOWED = [
    f"docs/tutorials/{name}.md"
    for name in ("first_run", "own_model", "own_method", "own_simulation")
]
"""Tutorials whose commands are run, not composed alone."""
COMMANDS = [
    (block.page, words)
    for block in BLOCKS
    if block.language == "bash" and not block.text.startswith("--")  # options of another program
    for words in lines_of(block.text)
]


def called(words: list[str]) -> tuple[str, list[str]] | None:
    """Return a command of ours and its arguments, however it is called."""
    if words[0] == "torchrun":
        words = ["python", *words[words.index("-m") :]]
    if words[0] == "insituml":
        return words[1], words[2:]
    if words[:2] == ["python", "-m"] and words[2].startswith(("pipelines.", "insituml_pipelines.")):
        return words[2].partition(".")[2].replace("_", "-"), words[3:]
    return None


WRITTEN = {
    f"{group}={ours[1][0]}"
    for group in ("data", "experiment")
    for _, words in COMMANDS
    if (ours := called(words)) is not None and ours[0] == "new-experiment"
}
"""Experiments that a page lets a command write, for which another one is composed."""
STANDS_IN = {"data": "data=lwfa", "experiment": "experiment=lwfa"}


def test_each_block_says_what_it_is() -> None:
    assert {block.language for block in BLOCKS} <= {"", "bash", "json", "python", "yaml", "text"}
    assert all(json.loads(block.text) for block in BLOCKS if block.language == "json")
    assert len(COMMANDS) > 60


def test_commands_can_be_run() -> None:
    """Configurations compose; targets, stages and packages that are named exist."""
    done: set[tuple[str, ...]] = set()
    runs = {tuple(sorted(words[2:])) for page, words in COMMANDS if page in FOLLOWED}
    for page, words in COMMANDS:
        ours = called(words)
        if ours is None:
            assert known_elsewhere(words), f"{page}: {' '.join(words)}"
            continue
        name, arguments = ours
        assert any(name in group for group in command_line.GROUPS.values()), name
        arguments = [STANDS_IN[a.partition("=")[0]] if a in WRITTEN else a for a in arguments]
        if name in COMPOSED and (key := tuple(sorted(arguments))) not in done | runs:
            done.add(key)
            stage = importlib.import_module(command_line.commands()[name])
            asked = Arguments(open_to_new_keys(arguments))
            sweep = _sweep_of(stage.main, asked)
            try:
                check_composition(asked, sweep.untaken if sweep else lambda overrides: [])
            except UserError as error:
                pytest.fail(f"{page}: {' '.join(words)}: {error}")


def known_elsewhere(words: list[str]) -> bool:
    """Say whether a command that is not ours names what there is."""
    while words and re.match(r"^[A-Z_]+=", words[0]):
        words = words[1:]
    name = Path(words[0]).name
    if name == "make":
        return f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    if name == "python" and words[1] == "-m":
        return (ROOT / f"{words[2].replace('.', '/')}.py").is_file()
    if name == "sbatch":
        return any((ROOT / word).is_file() for word in words[1:])
    if name == "dvc":
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        return words[1] != "repro" or all(w in stages for w in words[2:] if not w.startswith("-"))
    if name == "pip":
        extras = re.findall(r"\[([\w,]+)\]", words[-1])
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        return set(",".join(extras).split(",")) <= {*project["optional-dependencies"], ""}
    return name in ("source", "git", "pre-commit", "cd")


@pytest.mark.parametrize("text", [b.text for b in BLOCKS if b.language == "yaml"])
def test_configurations_are_yaml(text) -> None:
    assert isinstance(yaml.safe_load(text), dict)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of one's own, with a configuration of its own; its modules are forgotten."""
    for module in command_line.commands().values():
        importlib.import_module(module)  # what is first imported below would keep this folder
    shutil.copytree(CONF, tmp_path / "conf")
    for name, module in list(sys.modules.items()):
        if name.startswith("insituml_pipelines") and getattr(module, "CONF", None) == CONF:
            monkeypatch.setattr(module, "CONF", tmp_path / "conf")
    monkeypatch.setattr("insituml_pipelines.results.figures.draw_figures", lambda *_: None)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    before = set(sys.modules)
    yield tmp_path
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


class Reader:
    """Somebody who types in what a page says, with little patience for training.

    Parameters
    ----------
    monkeypatch
        Sets the command line.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.data: list[list[str]] = []
        """How the data that are there were made."""

    def follow(self, page: str, **known: object) -> None:
        """Run the blocks of a page one after the other."""
        blocks = [block for block in BLOCKS if block.page == page]
        text = (ROOT / page).read_text(encoding="utf-8")
        names: dict[str, object] = {"__name__": "documentation", **known}
        to_save = re.findall(r"[Ss]ave\s+(?:it|this)\s+as\s+`(\w+\.py)`", text)
        for number, block in enumerate(blocks):
            if block.language == "python":
                if to_save and "class " in block.text:
                    Path(to_save.pop()).write_text(block.text)
                exec(compile(block.text, f"{page}, block {number}", "exec"), names)
            elif block.language == "bash":
                for words in lines_of(block.text):
                    self.type(words)

    def read(self, page: str, **known: object) -> None:
        """Run the blocks of Python alone."""
        names: dict[str, object] = {"__name__": "documentation", **known}
        blocks = of(page, "python")
        assert blocks, f"{page} has no Python"
        for number, text in enumerate(blocks):
            exec(compile(text, f"{page}, block {number}", "exec"), names)

    def type(self, words: list[str]) -> None:
        """Run a command in this process; what only prints, or takes minutes, is left out."""
        name, arguments = called(words) or ("", [])
        if name in ("", "repro") or "--cfg" in arguments:
            return
        if name in ("generate", "split"):
            if [name, *arguments] in self.data:
                return
            self.data = [[name, *arguments]] + (self.data if name == "split" else [])
        given = [name, *arguments, *TINY.get(name, [])]
        self.monkeypatch.setattr(sys, "argv", given)
        importlib.import_module(command_line.commands()[name]).command()


def test_tutorials_run_as_they_stand(scratch, monkeypatch, capsys) -> None:
    """One after the other in one folder, as data of the same experiment need be made but once."""
    reader, runs = Reader(monkeypatch), scratch / "runs"
    first, model, *others = FOLLOWED
    reader.follow(first)
    said = capsys.readouterr().out
    assert "experience_replay" in (scratch / "results/leaderboard.csv").read_text()
    assert "plot: not evaluated, and left out: incremental_pca" in said
    reader.follow(model)
    (runs / "ewc/seed_0").mkdir(parents=True)
    shutil.copy(runs / "naive/seed_0/task_4.pt", runs / "ewc/seed_0/task_4.pt")
    for page in others:
        reader.follow(page)
    assert (scratch / "wake_restored.h5").exists()

    # Pages that begin with a checkpoint and a field.
    replay = runs / "experience_replay/seed_0"
    shutil.copy(replay / "task_3.pt", replay / "task_4.pt")
    volume = next(iter(OpenPMDSeries("simulation.h5"))).values
    fresh = insituml.load_checkpoint(replay / "task_4.pt")
    for page in ("README.md", "docs/checkpoints.md"):
        reader.read(page, volume=volume, fresh_learner=fresh)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/tutorials/from_avalanche.md"])
def test_other_pages_in_python_run(page, monkeypatch) -> None:
    Reader(monkeypatch).read(page)


def test_no_page_with_python_is_left_out() -> None:
    tried = {
        *("README.md", "CONTRIBUTING.md", "docs/checkpoints.md"),
        *(*FOLLOWED, "docs/tutorials/from_avalanche.md"),
    }
    for block in BLOCKS:
        if block.language == "python" and block.page not in tried:  # it needs an MLflow store
            assert block.page == "docs/pipeline.md", block.page
            names = re.findall(r"\binsituml\.(\w+)", block.text)
            compile(block.text, block.page, "exec")
            assert names
            assert all(hasattr(insituml, name) for name in names)
