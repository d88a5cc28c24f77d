"""The benchmark of the memories measures each kind, and does not change the process."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import memory
from insituml.memory import HerdingMemory, LossAwareMemory, QuotaMemory, ReservoirMemory, RingMemory


def test_every_kind_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(memory, "SHAPES", {"field chunks": (3, 2), "points": (2,)})
    measure, threads = memory.measure, torch.get_num_threads()
    monkeypatch.setattr(memory, "measure", lambda size: measure(memory.Size(rows=70, turns=3)))
    file = tmp_path / "rows.json"
    code = memory.main(["--quick", "--json", str(file)])
    rows = json.loads(file.read_text())
    assert code == (0 if all(row["ok"] for row in rows) else 1)
    for label in ("field chunks", "points"):
        for kind in (ReservoirMemory, QuotaMemory, RingMemory, LossAwareMemory):
            for step in ("add", "sample"):
                start = f"{label}: {kind.__name__}.{step}, "
                (row,) = [row for row in rows if row["name"].startswith(start)]
                assert (row["goal"] == "<= 1.1") == (label == "field chunks")
                assert label == "points" or row["value"] > 0
    assert sum(HerdingMemory.__name__ in row["name"] for row in rows) == 1
    assert torch.get_num_threads() == threads
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(rows)


def test_both_sides_run_by_turns() -> None:
    order: list[str] = []
    times = memory.typical_by_turns(4, lambda: order.append("a"), lambda: order.append("b"))
    assert order == ["a", "b"] * 6  # two to warm up
    assert min(times) > 0
