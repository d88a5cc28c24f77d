"""Settings are chosen where no test data and no later task can be read."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import benchmarks.quality
from benchmarks.quality import CANDIDATES, Quality, copy_for_selection
from insituml.data import TaskFiles

SMALL = [
    *("model.hidden_sizes=[4]", "training.epochs=1", "training.batch_size=64"),
    "training.memory_size=9",
]


def test_selection_reads_no_test_data_and_no_later_task(
    tmp_path: Path, monkeypatch, quality_here: None
) -> None:
    """The test files are replaced by folders, which nobody can read, root neither."""
    monkeypatch.setitem(CANDIDATES, "lwf", {"method.strength": "1e9,1"})
    quality = Quality("toy8", tmp_path, [0], SMALL, selection_tasks=2)
    quality.prepare()
    quality.prepare_selection()
    tests = sorted((tmp_path / "data/tasks").rglob("test_*.npy"))
    assert tests
    for file in tests:
        file.unlink()
        file.mkdir()
    whole = TaskFiles.open(tmp_path / "data/tasks").manifest
    selection = TaskFiles.open(quality.selection / "data/tasks")
    assert selection.manifest.task_names == whole.task_names[:2]
    assert selection.manifest.fingerprint != whole.fingerprint
    files = {path.name for path in (quality.selection / "data/tasks").rglob("*.npy")}
    assert files == {f"{p}_{c}.npy" for p in ("train", "validation") for c in whole.columns}
    selection.check(("train", "validation"))

    chosen = quality.tune("lwf")
    errors = []
    for number in range(2):
        summary = quality.selection / f"tuning/lwf/{number}/validation/lwf/summary.json"
        errors.append(json.loads(summary.read_text())["mean"]["final_average_error"])
    assert chosen == {"method.strength": ["1e9", "1"][errors.index(min(errors))]}
    with pytest.raises(RuntimeError, match="test_"):  # the last step, and it alone, needs them
        quality.train("naive", {})


def test_selection_needs_validation_parts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(benchmarks.quality, "subprocess", subprocess)  # as it is run
    quality = Quality("toy8", tmp_path, [0], [])
    quality.prepare()
    with pytest.raises(ValueError, match="to select on 99 each needs one"):
        copy_for_selection(tmp_path / "data/tasks", tmp_path / "other", 99)
