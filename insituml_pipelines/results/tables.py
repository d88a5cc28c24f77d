"""From the evaluations of all methods to the tables that compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from insituml import gap, metrics
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import say
from insituml_pipelines.common.records import read_plain
from insituml_pipelines.results.summary import FILE, Summary, read_summary


def evaluated(root: Path, methods: Sequence[str]) -> list[str]:
    """Return those methods that ``root`` has an evaluation of.

    Raises
    ------
    UserError
        If there is none.
    """
    found = [m for m in methods if (root / "evaluations" / m / FILE).exists()]
    if not found:
        raise UserError(
            f"none of {', '.join(methods)} is evaluated; run `dvc repro`, or "
            f"`insituml train method={methods[0]}` and "
            f"`insituml evaluate method={methods[0]}`"
        )
    return found


def read_summaries(root: Path, methods: Sequence[str]) -> dict[str, Summary]:
    """Read the summary of each method, all evaluated.

    Raises
    ------
    UserError
        If methods were trained in different ways, or another version wrote a summary.
    """
    summaries = {method: read_summary(root / "evaluations" / method) for method in methods}
    for method, summary in summaries.items():
        if differing := summary.differences(summaries[methods[0]]):
            raise UserError(
                f"{method} was trained with another {differing[0]} than {methods[0]}: they cannot "
                "be compared; run `dvc repro` to bring all methods up to date"
            )
    return summaries


def comparable(root: Path, method: str) -> list[str]:
    """Return all evaluated methods that learned the stream that ``method`` did, alphabetically.

    The same configuration does not say so: a stream may have lost iterations, or ended early.
    """
    learned = _learned(root, method)
    summary = read_summary(root / "evaluations" / method)
    found = [method]
    for file in (root / "evaluations").glob(f"[!.]*/{FILE}"):
        name = file.parent.name
        try:
            same = _learned(root, name) == learned
            if name != method and same and not read_summary(file.parent).differences(summary):
                found.append(name)
        except (UserError, FileNotFoundError) as error:
            say(f"stream: {name} is left out of the comparison: {error}")
    return sorted(found)


def _learned(root: Path, method: str) -> list[object]:
    """Return what stands in a method's log about the tasks that it learned."""
    file = root / "runs" / method / "transit.json"
    content = read_plain(file, "run `insituml stream` again")
    if not isinstance(content, dict) or not isinstance(content.get("tasks"), list):
        raise UserError(f"{file} is damaged: it names no tasks; run `insituml stream`")
    return list(content["tasks"])


def leaderboard(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Return one row a method: what it is, and mean and ``_std`` over seeds of each metric.

    Returns
    -------
    DataFrame
        Columns ``method``, ``is_bound``, ``is_baseline``, ``keeps_all_data``, ``seeds``, those of
        :data:`insituml.metrics.METRICS` and those of each error at the end, averaged over tasks;
        lowest final average error first. What compares methods, such as the gap closed, does so
        seed by seed; it is empty where who it compares with is not among the methods.
    """
    seeds = next(iter(summaries.values())).seeds
    numbers = {
        seed: metrics.of_comparison(
            {method: _known(summary.seeds[seed]) for method, summary in summaries.items()}
        )
        for seed in seeds
    }
    rows = []
    for method, summary in summaries.items():
        row = {
            "method": method,
            "is_bound": summary.is_bound,
            "is_baseline": summary.is_baseline,
            "keeps_all_data": summary.keeps_all_data,
            "seeds": len(seeds),
        }
        for metric in metrics.METRICS:
            values = np.array([numbers[seed][method][metric.name] for seed in seeds])
            spread = values.std(ddof=1) if len(values) > 1 else np.nan
            row |= zip(metric.columns, (values.mean(), spread), strict=False)
        rows.append(row | _final_errors(summary))
    return pd.DataFrame(rows).sort_values("final_average_error", ignore_index=True)


def _final_errors(summary: Summary) -> dict[str, float]:
    """Return mean and spread over seeds of each error at the end, by the column's name."""
    seeds = [_known(errors) for errors in summary.errors.values()]
    row: dict[str, float] = {}
    for name in seeds[0] if seeds else ():
        values = np.array([errors[name] for errors in seeds])
        spread = values.std(ddof=1) if len(values) > 1 else np.nan
        row |= {name: values.mean(), f"{name}_std": spread}
    return row


def _known(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """Put NaN for None, which is what JSON has for it."""
    return {name: np.nan if value is None else value for name, value in numbers.items()}


def headline_numbers(board: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the few numbers for ``dvc metrics``: the best competing method's, and both ends.

    Returns
    -------
    dict
        ``best`` with each headline metric that it has, and, for the reference and the bound of
        the gap and for baselines, the final average error. Who is best says the leaderboard: here
        are numbers alone.
    """
    found: dict[str, dict[str, float]] = {}
    rows = board.to_dict("records")
    competing = [r for r in rows if metrics.competes(r["method"], is_bound=r["is_bound"])]
    if competing:
        values = {metric.name: competing[0][metric.name] for metric in metrics.headlines()}
        found["best"] = {name: float(v) for name, v in values.items() if not np.isnan(v)}
    errors = board.set_index("method")["final_average_error"]
    baselines = [row["method"] for row in rows if row["is_baseline"]]
    for method in (gap.REFERENCE, gap.EQUAL_COMPUTE, gap.BOUND, *baselines):
        if method in errors:
            found[method] = {"final_average_error": float(errors[method])}
    return found


def forgetting_curves(root: Path, summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Return how errors go on from task to task, one row a method and task.

    Returns
    -------
    DataFrame
        Means over seeds: ``average_error_of_seen_tasks`` after each task and
        ``first_task_error``, the error on the first one. For a method that saw all tasks at once
        they are those of its final model.
    """
    rows = []
    for method, summary in summaries.items():
        matrices = read_matrices(root, method, "loss_matrix.csv", summary.metric)
        if not matrices.size:
            raise UserError(
                f"evaluations/{method}/loss_matrix.csv lacks {summary.metric!r}, which its summary "
                f"names; run `insituml evaluate method={method}` again"
            )
        if not summary.sequential:
            matrices = np.broadcast_to(matrices[:, -1:], matrices.shape)
        averages = np.mean([metrics.average_error_of_seen_tasks(m) for m in matrices], axis=0)
        rows += [
            {
                "method": method,
                "task": task,
                "average_error_of_seen_tasks": float(average),
                "first_task_error": float(matrices[:, task, 0].mean()),
            }
            for task, average in enumerate(averages)
        ]
    return pd.DataFrame(rows)


def read_matrices(root: Path, method: str, file: str, metric: str) -> np.ndarray:
    """Return the matrices of a method as ``(seeds, K, K)``; NaN where there is no value.

    Without any value K is 0.
    """
    table = read_table(root, method, file)
    table = table[(table["metric"] == metric) & (table["trained_through"] >= 0)]
    # A task without a value, such as the drift of a single sample, is still learned.
    size = int(table[["trained_through", "evaluated_on"]].to_numpy().max(initial=-1)) + 1
    matrices = np.full((table["seed"].nunique(), size, size), np.nan)
    for index, (_, group) in enumerate(table.groupby("seed")):
        matrices[index, group["trained_through"], group["evaluated_on"]] = group["value"]
    return matrices


def read_table(root: Path, method: str, file: str) -> pd.DataFrame:
    """Return a table of an evaluation: numbers of matrices, one a row.

    Raises
    ------
    UserError
        If it is damaged.
    """
    path = root / "evaluations" / method / file
    try:
        table = pd.read_csv(path)
        whole = ["seed", "trained_through", "evaluated_on"]
        table[whole] = table[whole].astype(int)
        table["value"] = table["value"].astype(float)
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is damaged ({reason}); run `insituml evaluate method={method}` again"
        ) from error
    return table
