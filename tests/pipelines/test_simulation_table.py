"""The table of errors by simulation, whatever errors the learners have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from insituml_pipelines.results.simulation_table import gathered, simulations_markdown


def test_errors_of_the_learners_own_are_shown_where_there_are_no_others() -> None:
    table = pd.DataFrame(
        [["naive", 0, "a", 3, "charge", 0.5], ["naive", 1, "a", 3, "charge", 1.5]],
        columns=["method", "seed", "simulation", "samples", "metric", "value"],
    )
    lines = simulations_markdown(table).splitlines()
    assert lines[0].endswith("charge |")
    assert lines[2].split("|")[1:3] == [" a ", " 1.00 "]


def test_without_any_table_there_is_nothing_to_show(tmp_path: Path) -> None:
    assert gathered(tmp_path, ["naive"]).empty
