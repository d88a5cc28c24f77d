"""A point of a memory–error curve, measured by the pipeline's own commands."""

from __future__ import annotations

import json

import pytest

from benchmarks.memory_curves import Curves


def test_a_point_is_evaluated_on_the_test_part_where_there_is_one_to_validate(
    tools, tmp_path
) -> None:
    tools.make_stream(tools.points_data(validation=0.1), tmp_path)
    few = ["training.epochs=1", "model.hidden_sizes=[4]"]
    measured = Curves("toy8", tmp_path, 1, few).measure("naive", "level", "naive", ())
    place = tmp_path / "level/naive"
    summary = json.loads((place / "evaluations/naive/summary.json").read_text())
    assert measured.errors == [pytest.approx(summary["seeds"]["0"]["final_average_error"])]
    assert not (place / "validation").exists()
