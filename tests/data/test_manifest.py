"""What arrays mean survives JSON and checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from insituml.data import Grid, Manifest, Normalisation, TaskFiles, TaskInfo
from insituml.data.task_files import write_manifest, write_part
from insituml.verified_file import read_verified, write_verified

SCALE = Normalisation(np.array([1.5, -2.0]), np.array([3.0, 0.1]))
MANIFEST = Manifest(
    name="waves",
    kind="field",
    in_transit=False,
    columns=("inputs",),
    sample_shape=(2, 4, 8),
    condition_size=0,
    components=("Ex", "Ey"),
    unit="V/m",
    grid=Grid((8, 16), (1e-6, 2e-6), (0.0, -1e-6), ("x", "y")),
    chunk=(4, 8),
    permuted=False,
    tasks=(TaskInfo("iterations 0–30", 12, 4, SCALE, (0, 10, 20, 30), (20,)),),
    times={0: 0.0, 10: 1e-15},
    origins={10: (0.0, 3e-6)},
    fingerprint="abc",
    configuration={"split": {"chunk": [4, 8]}},
)


def assert_same(found: Manifest) -> None:
    assert found.to_plain() == MANIFEST.to_plain()
    assert found.grid == MANIFEST.grid
    assert found.chunk == (4, 8)
    np.testing.assert_array_equal(found.tasks[0].normalisation.std, SCALE.std)
    assert found.origin(10) == (0.0, 3e-6)
    assert found.origin(20) == (0.0, -1e-6)


def test_it_survives_json_and_a_checkpoint(tmp_path: Path) -> None:
    plain = MANIFEST.to_plain()
    assert_same(Manifest.from_plain(json.loads(json.dumps(plain))))
    write_verified(tmp_path / "x.pt", {"manifest": plain})
    assert_same(Manifest.from_plain(read_verified(tmp_path / "x.pt")["manifest"]))


def test_one_of_samples_has_no_grid() -> None:
    samples = replace(MANIFEST, grid=None, chunk=None, components=())
    assert Manifest.from_plain(samples.to_plain()).grid is None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 2}, "has format 2, this version of insituml reads format 1"),
        ({"format": None}, "has no format number"),
        ({"tasks": [{"name": "x"}]}, "is damaged .KeyError: 'normalisation'"),
        ({"surprise": 1}, "is damaged .TypeError"),
    ],
)
def test_others_are_refused_by_name(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        Manifest.from_plain({**MANIFEST.to_plain(), **change}, "stream.json")


def test_task_files_map_what_was_written_block_by_block(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 2, 4, 8)).astype(np.float32)
    for part, chosen in (("train", rows), ("test", rows[:2])):
        blocks = ({"inputs": block} for block in np.split(chosen, [1]))
        assert write_part(tmp_path, 0, part, blocks) == len(chosen)
    write_manifest(tmp_path, MANIFEST)
    files = TaskFiles.open(tmp_path)
    (task,) = files.tasks()
    assert task.name == "iterations 0–30"
    np.testing.assert_array_equal(task.train[0].numpy(), rows)
    np.testing.assert_array_equal(task.test[0].numpy(), rows[:2])


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "stream.json").write_text('{"format": 1, ')
    with pytest.raises(ValueError, match=r"stream.json is damaged: .*make it again"):
        TaskFiles.open(tmp_path)
