"""The benchmark of GPUs, tried on the CPU; without a GPU it says so and measures nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Effort

SMALL = Effort((8, 8, 8), batch=2, stored=4, steps=2, copied=2**16, side=32)


def test_it_measures_shares_of_what_the_device_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "QUICK", SMALL)
    file = tmp_path / "rows.json"
    code = gpu.main(["--quick", "--device", "cpu", "--json", str(file)])
    rows = json.loads(file.read_text())
    assert code == (0 if all(row["ok"] for row in rows) else 1)
    values = {row["name"]: row["value"] for row in rows}
    assert all(value > 0 for value in values.values())
    for name in gpu.CASES:
        rate = values[f"{name}: samples a second"]
        assert rate == pytest.approx(2e3 / values[f"{name}: milliseconds a step"])
        copied = rate * 4 * 3 * 8**3 / (1e9 * values["copies to the device, GB/s"])
        assert values[f"{name}: copied to the device, of its most"] == pytest.approx(copied)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(capsys: pytest.CaptureFixture) -> None:
    assert gpu.main([]) == 0
    assert "not measured: cuda does not work here" in capsys.readouterr().out
