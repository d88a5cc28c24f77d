"""The benchmark of whole volumes measures what it says, on volumes of a few points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import full_size
from benchmarks.full_size import GIB, STRIDED, Effort, Iteration, Taken, Way

SMALL = Effort((4, 256, 4), 12)


def test_the_way_from_stream_to_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(full_size, "strided", lambda shape: full_size.AutoEncoder3D(shape, (2,), 4))
    way = full_size.go_the_way(SMALL, tmp_path)
    assert len(way.iterations) == 12
    # Two stored in float16, the buffer, the sample of the task, and a small model with Adam's.
    least = (2 / 2 + 1 + 1) * SMALL.sample_bytes
    sizes = [iteration.checkpoint for iteration in way.iterations]
    assert least < sizes[-1] < least + 200_000
    assert max(sizes[3:]) <= 1.02 * min(sizes[3:])
    assert min(way.peak, way.producer) > way.iterations[0].checkpoint
    assert not list((tmp_path).glob("[!r]*"))


def test_rows_and_their_goals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(full_size, "CASES", [STRIDED])
    held = [GIB] * 6 + [2 * GIB] * 6  # it grows
    way = Way([Iteration(1.0, 2.0, h, 10**9) for h in held], 4 * GIB, GIB)
    answers = {full_size.take_steps: Taken(3.0, 4.0, 2 * GIB), full_size.go_the_way: way}
    monkeypatch.setattr(full_size, "in_a_process", lambda function, *_: answers[function])
    file = tmp_path / "rows.json"
    assert full_size.main(["--iterations", "12", "--json", str(file)]) == 1
    rows = {row["name"]: row for row in json.loads(file.read_text())}
    missed = [name for name, row in rows.items() if not row["ok"]]
    assert missed == ["stream to checkpoint: growth of what is held"]
    assert rows[missed[0]]["value"] == 2
    assert rows["step of strided: GiB above data"]["value"] == 2
    both = 5 - 2 * full_size.FULL.sample_bytes / GIB
    assert rows["stream to checkpoint: both peaks, GiB"]["value"] == pytest.approx(both)
    with pytest.raises(SystemExit):
        full_size.main(["--iterations", "5"])
    assert "expected 12 or more" in capsys.readouterr().err
