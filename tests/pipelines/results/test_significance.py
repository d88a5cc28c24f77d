"""Who is called the best of a table, and what is said of the others beside it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from insituml import metrics
from insituml_pipelines.results.significance import with_verdicts

ERROR = metrics.headlines()[0].name
ERRORS = {
    "incremental_pca": [0.50, 0.51, 0.50, 0.49],
    "compressed_replay": [0.30, 0.31, 0.30, 0.29],
    "joint_converged": [0.10, 0.11, 0.10, 0.09],
}


@pytest.mark.parametrize(
    "naive, best, replay",
    [
        ([0.201, 0.211, 0.200, 0.189], "naive", "worse"),
        ([0.28, 0.33, 0.29, 0.27], "naive", "on a par"),
        ([0.401, 0.411, 0.400, 0.389], "compressed_replay", "best"),
    ],
)
def test_nothing_but_a_bound_is_better_than_the_best(naive, best, replay) -> None:
    errors = {**ERRORS, "naive": naive}
    rows = [
        {"method": m, "is_bound": m == "joint_converged", ERROR: sum(values) / len(values)}
        for m, values in errors.items()
    ]
    summaries: dict[str, Any] = {
        method: SimpleNamespace(seeds={str(k): {ERROR: v} for k, v in enumerate(values)})
        for method, values in errors.items()
    }
    board, differences = with_verdicts(pd.DataFrame(rows), summaries)
    verdicts = dict(zip(board["method"], board["verdict"], strict=True))
    assert set(differences["reference"]) == {best}
    assert verdicts.pop(best) == "best"
    assert verdicts.pop("joint_converged") == "better"
    assert verdicts.pop("compressed_replay", "best") == replay
    assert verdicts.pop("naive", "worse") == "worse"
    assert verdicts == {"incremental_pca": "worse"}
