"""From the evaluations of all methods to the tables that compare them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from insituml.metrics import gap_closed
from pipelines.common.errors import UserError

METRICS = (
    "final_average_error",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "gap_closed",
)
NEEDS_ORDER = ("forgetting", "backward_transfer", "forward_transfer")
"""What has no meaning for a method that sees all tasks at once."""

KEEP_ALL_DATA = ("joint", "cumulative")
"""Bounds whose memory is the stream itself: no number to compare with."""


def read_summaries(root: Path, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``evaluations/<method>/summary.json`` of each method.

    Raises
    ------
    UserError
        If a method was not evaluated, or methods were trained in different ways.
    """
    summaries = {}
    for method in methods:
        path = root / "evaluations" / method / "summary.json"
        if not path.exists():
            raise UserError(
                f"{method} is not evaluated ({path} is missing); run "
                f"`python -m pipelines.evaluate method={method}`, or take it off pipeline.methods"
            )
        summaries[method] = json.loads(path.read_text())
    for method, summary in summaries.items():
        if other := _differences(summary, summaries[methods[0]]):
            raise UserError(
                f"{method} was trained with another {other[0]} than {methods[0]}: they cannot be "
                "compared; run `dvc repro` to bring all methods up to date"
            )
    return summaries


def comparable(root: Path, method: str) -> list[str]:
    """Return all evaluated methods that learned the stream that ``method`` did, alphabetically.

    The same configuration does not say so: a stream may have lost steps, or ended early.
    """
    files = (root / "evaluations").glob("*/summary.json")
    found = {file.parent.name: json.loads(file.read_text()) for file in files}
    learned = {
        name: json.loads((root / "runs" / name / "stream.json").read_text()).get("tasks")
        for name in found
    }
    return sorted(
        name
        for name in found
        if learned[name] == learned[method] and not _differences(found[name], found[method])
    )


def _differences(summary: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Name what makes two methods' results incomparable."""
    shared = ("data", "model", "optimizer", "training")
    differing = [key for key in shared if summary["identity"][key] != other["identity"][key]]
    same_seeds = summary["seeds"].keys() == other["seeds"].keys()
    return differing if same_seeds else [*differing, "set of seeds"]


def leaderboard(summaries: dict[str, dict[str, Any]], timings: dict[str, Any]) -> pd.DataFrame:
    """Return one row a method: mean and ``_std`` over seeds of each metric, time and memory.

    Parameters
    ----------
    summaries
        By method, as the evaluate stage writes them.
    timings
        By method and seed, as the train stage writes them.

    Returns
    -------
    DataFrame
        Best method first. The gap is closed seed by seed, between naive and joint of that seed;
        empty where either is not among the methods.
    """
    rows = []
    for method, summary in summaries.items():
        row: dict[str, Any] = {"method": method}
        for metric in METRICS:
            values = np.array(_values(summaries, method, metric), dtype=float)
            if metric in NEEDS_ORDER and not summary["sequential"]:
                values = np.full(len(values), np.nan)
            row[metric] = values.mean()
            row[f"{metric}_std"] = values.std(ddof=1) if len(values) > 1 else np.nan
        seconds = [seed["seconds_per_step"] for seed in timings[method].values()]
        row["seconds_per_step"] = float(np.mean(seconds))
        keeps_all = method in KEEP_ALL_DATA
        row["memory_bytes"] = float("nan") if keeps_all else summary["memory_bytes"]
        rows.append(row)
    return pd.DataFrame(rows).sort_values("final_average_error", ignore_index=True)


def _values(summaries: dict[str, dict[str, Any]], method: str, metric: str) -> list[float]:
    seeds = summaries[method]["seeds"]
    if metric != "gap_closed":
        return [seed[metric] for seed in seeds.values()]
    if not {"naive", "joint"} <= summaries.keys():
        return [float("nan")] * len(seeds)
    error = {m: summaries[m]["seeds"] for m in (method, "naive", "joint")}
    return [
        gap_closed(*(error[m][seed]["final_average_error"] for m in (method, "naive", "joint")))
        for seed in seeds
    ]


def nested_metrics(board: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the leaderboard for ``dvc metrics``: by method, then metric; numbers alone."""
    return {
        row["method"]: {
            metric: float(row[metric]) for metric in METRICS if not np.isnan(row[metric])
        }
        for row in board.to_dict("records")
    }


def read_matrices(root: Path, method: str, file: str, metric: str) -> np.ndarray:
    """Return the matrices of a method as ``(seeds, K, K)``; NaN where there is no value.

    Without any value K is 0.
    """
    table = pd.read_csv(root / "evaluations" / method / file)
    table = table[(table["metric"] == metric) & (table["trained_through"] >= 0)]
    # A task without a value, such as the drift of a single sample, is still learned.
    size = int(table[["trained_through", "evaluated_on"]].to_numpy().max(initial=-1)) + 1
    matrices = np.full((table["seed"].nunique(), size, size), np.nan)
    for index, (_, group) in enumerate(table.groupby("seed")):
        matrices[index, group["trained_through"], group["evaluated_on"]] = group["value"]
    return matrices
