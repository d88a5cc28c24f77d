"""The benchmark of the streams sees what it is to measure: rates, waiting and stored bytes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

import numpy as np
import openpmd_api
import pytest
import torch

from benchmarks import stream, stream_throughput
from benchmarks.stream_training import MODELS, Paced, Setting, time_waited, wakefield
from insituml.data.step import Step
from insituml.stream import Description, Event, FieldStream

SMALL = Setting(
    (16, 128, 16), (16, 16, 16), recent_iterations=10, task_samples=64, memory_samples=240, slots=8
)
SAMPLE = 3 * 16**3 * 4


def test_every_part_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys) -> None:
    effort = stream.Effort(SMALL, steps=6, turns=1, waits=12, memory_at=(40, 48))
    monkeypatch.setattr(stream, "QUICK", effort)
    monkeypatch.delitem(MODELS, "MLP")
    threads = torch.get_num_threads()
    file = tmp_path / "rows.json"
    code = stream.main(["--quick", "--json", str(file)])
    rows = json.loads(file.read_text())
    values = {row["name"]: row["value"] for row in rows}
    assert code == (0 if all(row["ok"] for row in rows) else 1)
    assert torch.get_num_threads() == threads

    step_megabytes = 8 * SAMPLE / 1e6
    names = [name.removesuffix(": MB/s") for name in values if name.endswith(": MB/s")]
    assert len(names) == 7 + ("sst" in openpmd_api.file_extensions)
    for name in names:
        assert values[f"{name}: MB/s"] == pytest.approx(
            values[f"{name}: steps/s"] * step_megabytes, rel=1e-9
        )
        assert values[f"{name}: rate, of a plain copy"] == pytest.approx(
            values[f"{name}: steps/s"] / values["plain copy: steps/s"], rel=1e-9
        )

    for waiting in ("waiting for the ring", "waiting, producer half as fast"):
        assert 0 <= values[f"AutoEncoder3D: share of time {waiting}"] < 1

    bound = {
        "ring": 8 * 8 * SAMPLE,
        "recent samples": 10 * 8 * SAMPLE,
        "sample of the task": 64 * SAMPLE,
        "memory of the method": 240 * (SAMPLE + 8),  # and the number of its task
    }
    for name, size in bound.items():
        assert values[f"bound: {name}, MB"] == pytest.approx(size / 1e6, abs=1e-3)
    # Some megabytes come and go; without the memory it would be half, with a copy half more.
    assert 0.8 < values["peak memory, of the bound"] < 1.5
    # A peak does not fall, but for pages that Linux counts by the batch: a percent was seen.
    before, after = (values[f"peak memory after {steps} steps, MB"] for steps in (40, 48))
    assert after >= 0.9 * before

    printed = capsys.readouterr().out
    assert "of a plain copy" in printed
    assert "peak memory, of the bound" in printed


def test_a_step_is_timed_without_what_comes_before_the_warm_up() -> None:
    class SlowStart(stream_throughput.PreparedField):
        def steps(self, places: Iterable[int]) -> Iterator[Step]:
            time.sleep(1.0)
            return super().steps(places)

    field = SlowStart((2, 2, 2), stream_throughput.WARM_UP + 5)
    mine = np.zeros((3, 2, 2, 2), dtype=np.float32)
    seconds = stream_throughput.seconds_a_step(FieldStream(field), mine)
    assert 0 < seconds < 1.0 / (stream_throughput.WARM_UP + 5)
    assert (mine == field.arrays[(len(field) - 1) % stream_throughput.DIFFERENT]).all()


class Ready:
    """Gives what was made before."""

    def __init__(self) -> None:
        field = wakefield(SMALL.shape, 20)
        self.described, self.ready = field.describe(), list(field.events())

    def describe(self) -> Description:
        return self.described

    def events(self, after: int | None = None) -> Iterator[Event]:
        yield from self.ready


def test_waiting_is_what_the_producer_takes_longer() -> None:
    ahead = time_waited(MODELS["AutoEncoder3D"], Ready(), SMALL)
    slow = time_waited(MODELS["AutoEncoder3D"], Paced(Ready, 4 * ahead.seconds), SMALL)
    assert 0 <= ahead.share < 0.1
    # In one process nothing is made ahead: four parts of waiting, one of training.
    assert 0.4 < slow.share < 0.98
    assert slow.seconds > 4 * ahead.seconds
