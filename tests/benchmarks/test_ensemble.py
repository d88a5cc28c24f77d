"""The benchmark of ensembles counts what a kill loses, and sees rates and shares."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import ensemble
from benchmarks.stream_training import Setting

SMALL = Setting(
    (8, 128, 8), (8, 16, 8), recent_iterations=4, task_samples=16, memory_samples=40, slots=2
)

EFFORT = ensemble.Effort(SMALL, (1,), steps=8, turns=1, trained_steps=4, memory_steps=16)


def test_rates_are_medians_of_ratios_within_a_turn(monkeypatch) -> None:
    megabytes = 3 * 4 * 8 * 128 * 8 / 1e6
    effort = replace(EFFORT, producers=(1, 2, 64), turns=3)
    copied = [1.0, 2.0, 8.0, 2.0, 2.0, 8.0, 4.0, 5.0, 8.0]
    trained = [9.0, 9.0, 9.0, 10.0, 10.0, 12.0, 9.0, 10.0, 12.0]
    clock = iter([*copied, *trained])
    monkeypatch.setattr(ensemble, "pace_of", lambda count, *_: ensemble.Pace(next(clock), count))
    monkeypatch.setattr(ensemble, "CORES", 3)
    rows = {row.name: row for row in ensemble.rate_rows(effort)}
    assert rows["1 producers, copied: MB/s"].value == pytest.approx(megabytes / 2)
    assert rows["2 producers, copied: MB/s, of one"].value == pytest.approx(0.8)
    assert not rows["2 producers, copied: MB/s, of one"].ok
    assert rows["2 producers, copied: consumer's own work a step, of one"].value == 2
    assert rows["64 producers, copied: MB/s, of one"].goal == ""
    assert rows["2 producers, trained on: MB/s, of one"].ok
    assert not rows["64 producers, trained on: MB/s, of one"].ok


def test_a_trainer_is_fed_by_two() -> None:
    learn = ensemble.learning(trainer := ensemble.trainer_of(SMALL), SMALL)
    pace = ensemble.pace_of(2, 4, SMALL, learn)
    assert 0 < pace.work < pace.clock * 2
    assert trainer.steps >= 4


def test_a_kill_is_counted_and_named() -> None:
    rows = {row.name: row for row in ensemble.kill_rows(EFFORT, iterations=12)}
    delivered = rows["killed one of 3: its iterations delivered"].value
    assert 4 <= delivered < 12
    assert rows["killed one of 3: its iterations lost"].value == 12 - delivered
    assert all(row.ok for row in rows.values())
