"""What is kept aside of a stream: within the budget, uniformly, whatever the interruptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from insituml.in_transit import HeldOut

STEP = np.ones((2, 1, 4), dtype=np.float32)


def held_out(folder: Path | None, steps: int = 3, seed: int = 0) -> HeldOut:
    return HeldOut(2, 2 * steps * STEP.nbytes, STEP.nbytes, seed, folder)


def fill(kept: HeldOut, numbers: range | list[int], task: int = 0) -> list[int]:
    for number in numbers:
        kept.add(task, number, {"inputs": number * STEP, "labels": np.full(2, number)})
    return kept.iterations(task)


@pytest.mark.parametrize("in_memory", [True, False])
def test_all_steps_stay_while_there_is_room_and_come_back_in_order(in_memory, tmp_path) -> None:
    kept = held_out(None if in_memory else tmp_path)
    fill(kept, [30, 10, 20])
    assert kept.iterations(0) == [10, 20, 30]
    assert kept.iterations(1) == []
    steps = list(kept.samples(0))
    np.testing.assert_array_equal([s["inputs"] for s in steps], [n * STEP for n in (10, 20, 30)])
    np.testing.assert_array_equal([s["labels"][0] for s in steps], [10, 20, 30])


def test_the_budget_is_kept_for_each_task(tmp_path) -> None:
    kept = held_out(tmp_path)
    fill(kept, range(50))
    fill(kept, range(50, 60), task=1)
    files = list(tmp_path.rglob("*.npz"))
    assert len(files) == 6
    assert sum(np.load(file)["inputs"].nbytes for file in files) == 6 * STEP.nbytes


def test_memory_and_disk_keep_the_same(tmp_path) -> None:
    assert fill(held_out(None), range(40)) == fill(held_out(tmp_path), range(40))


def test_a_step_that_comes_again_changes_nothing(tmp_path) -> None:
    chosen = fill(held_out(tmp_path), range(40))
    again = held_out(tmp_path)  # as after an interruption
    assert fill(again, range(25, 40)) == chosen
    assert fill(held_out(tmp_path / "other"), list(reversed(range(40)))) == chosen


def test_every_step_is_as_likely_to_stay(tmp_path) -> None:
    counts = np.zeros(12)
    for seed in range(300):
        kept = held_out(tmp_path / str(seed), seed=seed)
        draws = sorted(range(12), key=kept._draw)
        counts[draws[: kept.capacity]] += 1
    assert stats.chisquare(counts).pvalue > 0.01
    # What the draws say is what is kept.
    assert fill(kept, range(12)) == sorted(draws[: kept.capacity])


def test_a_budget_without_room_says_how_much_is_needed(tmp_path) -> None:
    with pytest.raises(ValueError, match="of each of 2 tasks takes 64; give it that or more"):
        HeldOut(2, 63, STEP.nbytes, 0, tmp_path)
