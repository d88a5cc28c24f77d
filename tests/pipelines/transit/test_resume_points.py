"""A stream always goes on: from its last resume point, the one before, or its beginning."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from insituml_pipelines.stream import SECTIONS, finish, learn, plan
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.transit.resume_points import PREVIOUS, RESUME

ITERATIONS = 14
CHOSEN = [
    "data=efield_npy",
    "data.path=fields",
    "data.split.tasks=3",
    "data.split.chunk=[1,4,2]",
    "data.split.holdout=0.3",
    "tracking=none",
    "model=mlp",
    "model.hidden_sizes=[6]",
    "model.latent_size=2",
    "training.batch_size=3",
    "training.seeds=[0]",
    "training.memory_size=9",
    "transit.batches_per_iteration=2",
    "transit.checkpoint_every=2",
    "transit.methods=[ewc,joint]",
]


class Interrupted(Tracker):
    """Ends the training as Ctrl-C would, when the last task has begun."""

    def losses(self, run: Any, first_step: int, losses: Any) -> None:
        if run.recipe.method_name == "ewc" and first_step >= 16:
            raise KeyboardInterrupt


def stream(tools: Any, root: Path, tracker: Tracker) -> None:
    prepared = plan(tools.invoke(root, SECTIONS, *CHOSEN))
    training, _ = learn(prepared, tracker)
    finish(prepared, training, root / "transit")


@pytest.fixture(scope="module")
def interrupted(tools, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A stream that was interrupted, and what it would have become."""
    root = tmp_path_factory.mktemp("stream")
    tools.write_fields(root / "fields", ITERATIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        stream(tools, root, Tracker())
        expected = tools.contents(root / "transit/runs")
        shutil.rmtree(root / "transit")
        shutil.rmtree(root / ".partial")
        with pytest.raises(KeyboardInterrupt):
            stream(tools, root, Interrupted())
    return root, expected


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def made_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def of_another_stream(file: Path) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "stream": "stream-0"}))


def exchanged(file: Path) -> None:
    """Put the point of another iteration there."""
    (other,) = [f for f in file.parent.iterdir() if f != file]
    shutil.copy(other, file)


LAST, BEFORE = "ewc/seed_0/resume/{last}.pt", "ewc/seed_0/resume/{before}.pt"
PREVIOUS_ONE, ANEW = "the previous one", "anew"
DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    (RESUME, emptied, PREVIOUS_ONE),
    (RESUME, cut_short, PREVIOUS_ONE),
    (RESUME, changed, PREVIOUS_ONE),
    (RESUME, made_a_folder, PREVIOUS_ONE),
    (RESUME, of_another_stream, PREVIOUS_ONE),
    (RESUME, Path.unlink, PREVIOUS_ONE),
    (LAST, emptied, PREVIOUS_ONE),
    (LAST, Path.unlink, PREVIOUS_ONE),
    (LAST, exchanged, PREVIOUS_ONE),
    (LAST, made_a_folder, PREVIOUS_ONE),
    ("joint/seed_0/resume/{last}.pt", cut_short, PREVIOUS_ONE),
    (f"{PREVIOUS} {RESUME}", emptied, ANEW),
    (f"{LAST} {BEFORE}", changed, ANEW),
    ("ewc/seed_0/task_0.pt", Path.unlink, ANEW),
    ("ewc/seed_0/task_0.pt", changed, ANEW),
    ("held_out/0/100.npz", Path.unlink, ANEW),
    ("held_out/0/100.npz", changed, ANEW),
    ("ewc/seed_0/timings.json", emptied, ""),
    ("ewc/seed_0/timings.json", made_a_folder, ""),
    ("ewc/seed_0/initial.pt", Path.unlink, ""),
    ("joint/seed_0/initial.pt", emptied, ""),
]


@pytest.mark.parametrize("files, damage, expected", DAMAGE)
def test_what_is_damaged_is_said_and_never_the_end(
    files, damage, expected, interrupted, tools, tmp_path, monkeypatch, capsys
) -> None:
    source, results = interrupted
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (folder,) = Path(".partial").glob("stream-*")
    held_out = sorted(path.name for path in (folder / "held_out/0").iterdir())
    last, before = (
        json.loads((folder / name).read_text())["iteration"] for name in (RESUME, PREVIOUS)
    )
    for name in files.split():
        name = name.replace("100.npz", held_out[0])
        damage(folder / name.format(last=last, before=before))
    stream(tools, tmp_path, Tracker())
    found = tools.contents(tmp_path / "transit/runs")
    assert found == results
    said = capsys.readouterr().out
    assert said.count("cannot be gone on from") == {"": 0, ANEW: 2}.get(
        expected, 0 if damage == Path.unlink and files == RESUME else 1
    )
    assert ("goes on after iteration" in said) == (expected != ANEW)
    assert (f"after iteration {before};" in said) == (expected == PREVIOUS_ONE)
    assert ("is learned anew" in said) == (expected == ANEW)


@pytest.mark.parametrize("name", ["", "tasks", "ewc", "ewc/seed_0", "ewc/seed_0/resume"])
def test_files_in_the_place_of_folders_are_no_hindrance(
    name, interrupted, tools, tmp_path, monkeypatch
) -> None:
    source, results = interrupted
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (folder,) = Path(".partial").glob("stream-*")
    shutil.rmtree(folder / name)
    (folder / name).write_text("")
    stream(tools, tmp_path, Tracker())
    assert tools.contents(tmp_path / "transit/runs") == results
