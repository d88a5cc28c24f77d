"""The benchmark of ensembles counts what a kill loses, and sees rates and shares."""

from __future__ import annotations

import pytest

from benchmarks import ensemble
from benchmarks.stream_training import Setting

SMALL = Setting(
    (8, 128, 8), (8, 16, 8), recent_iterations=4, task_samples=16, memory_samples=40, slots=2
)


def test_rates_are_medians_of_ratios_within_a_turn(monkeypatch) -> None:
    megabytes = 3 * 4 * 8 * 128 * 8 / 1e6
    effort = ensemble.Effort(SMALL, (1, 2, 64), steps=8, turns=3, memory_steps=16)
    clock = iter([1.0, 2.0, 8.0, 2.0, 2.0, 8.0, 4.0, 5.0, 8.0])
    monkeypatch.setattr(ensemble, "pace_of", lambda count, _: ensemble.Pace(next(clock), count))
    rows = {row.name: row for row in ensemble.rate_rows(effort)}
    assert rows["1 producers: MB/s"].value == pytest.approx(megabytes / 2)
    assert rows["2 producers: MB/s, of one"].value == pytest.approx(0.8)
    assert not rows["2 producers: MB/s, of one"].ok
    assert rows["2 producers: trainer's own work a step, of one"].value == 2
    assert rows["64 producers: MB/s, of one"].goal == ""


def test_a_kill_is_counted_and_named() -> None:
    effort = ensemble.Effort(SMALL, (1,), steps=8, turns=1, memory_steps=16)
    rows = {row.name: row for row in ensemble.kill_rows(effort, iterations=12)}
    delivered = rows["killed one of 3: its iterations delivered"].value
    assert 4 <= delivered < 12
    assert rows["killed one of 3: its iterations lost"].value == 12 - delivered
    assert all(row.ok for row in rows.values())
