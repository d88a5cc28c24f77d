"""What arrays mean survives JSON and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from insituml.data import Grid, Manifest, Normalisation, TaskFiles, TaskInfo
from insituml.data.task_files import write_manifest, write_part
from insituml.safe_reading import DamagedFileError
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
        ({"tasks": [{"name": "x"}]}, r"is damaged \(tasks\[0\]\.train is missing"),
        ({"tasks": None}, r"is damaged \(tasks is None, not a list"),
        ({"surprise": 1}, "surprise is no key of it"),
        ({"name": 5}, "name is 5, not a str"),
        ({"condition_size": True}, "condition_size is True, not a int"),
        ({"condition_size": -1}, "condition_size is -1"),
        ({"sample_shape": [2, 0, 8]}, r"sample_shape is \[2, 0, 8\]"),
        ({"sample_shape": [3, 4, 8]}, "components and chunk are not those of sample_shape"),
        ({"sample_shape": "248"}, "sample_shape is '248', not a list"),
        ({"columns": ["labels"]}, r"columns are \['labels'\]"),
        ({"chunk": [4]}, "not all of 2 axes"),
        ({"times": {"x": 0.0}}, "times has the key 'x', not a number"),
        ({"times": [0.0]}, "times is .0.0., not a dictionary"),
        ({"origins": {"10": [0.0]}}, "not all of 2 axes"),
        ({"grid": {"shape": [8, 16]}}, "grid.spacing is missing"),
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
    manifest = replace(MANIFEST, tasks=(replace(MANIFEST.tasks[0], train=6, test=2),))
    write_manifest(tmp_path, manifest)
    files = TaskFiles.open(tmp_path)
    (task,) = files.tasks()
    assert task.name == "iterations 0–30"
    np.testing.assert_array_equal(task.train[0].numpy(), rows)
    np.testing.assert_array_equal(task.test[0].numpy(), rows[:2])


@pytest.mark.parametrize("content", [b'{"format": 1, ', b"", b"\0" * 9, b"\xff{}", b"[" * 10**5])
def test_a_damaged_manifest_is_named(content, tmp_path: Path) -> None:
    (tmp_path / "stream.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"stream.json is damaged: .*make it again"):
        TaskFiles.open(tmp_path)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float64": lambda a: a.astype(float),
    "fewer samples": lambda a: a[:-1],
    "another shape": lambda a: a[:, :, :, :-1],
    "integers": lambda a: a.astype(int),
    "a value": lambda a: a + (np.arange(len(a)) == 0)[:, None, None, None],
    "NaN": lambda a: np.full_like(a, np.nan),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_arrays_that_changed_are_named(change, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 2, 4, 8)).astype(np.float32)
    write_part(tmp_path, 0, "train", [{"inputs": rows}])
    places = np.zeros((4, 3), int)
    write_part(tmp_path, 0, "test", [{"inputs": rows[:4], "places": places}])
    write_manifest(tmp_path, MANIFEST)
    files = TaskFiles.open(tmp_path)
    files.check(places=True)
    np.save(tmp_path / "task_00/test_inputs.npy", change(rows[:4]))
    with pytest.raises(DamagedFileError, match=r"task_00/test_inputs\.npy"):
        files.check()
