"""Which methods differ: tables and the figure of a comparison's statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from insituml import metrics, plots
from insituml.significance import (
    compare_with,
    critical_difference,
    friedman_p,
    groups_on_a_par,
    mean_ranks,
    smallest_exact_p,
)
from insituml_pipelines.results.summary import Summary

COLUMNS = ("method", "reference", "seeds", "difference", "low", "high", "p", "p_holm", "verdict")
Errors = Mapping[str, np.ndarray]
"""By method ``(blocks,)``, the same blocks in the same order."""


def errors_by_seed(summaries: Mapping[str, Summary]) -> dict[str, np.ndarray]:
    """Return what methods are ranked by as ``(seeds,)`` each, NaN where there is no value."""
    name = metrics.headlines()[0].name
    seeds = list(next(iter(summaries.values())).seeds)
    return {
        method: np.array([summary.seeds[seed].get(name) for seed in seeds], dtype=float)
        for method, summary in summaries.items()
    }


def with_verdicts(
    board: pd.DataFrame, summaries: Mapping[str, Summary]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the leaderboard with a column ``verdict``, and the differences behind it.

    Parameters
    ----------
    board
        Of :func:`insituml_pipelines.results.tables.leaderboard`.
    summaries
        Of its methods.

    Returns
    -------
    board, differences
        Differences have :data:`COLUMNS`, one row a method, in the order of the board, but for the
        best one that is no bound: it is the reference.
    """
    errors = errors_by_seed(summaries)
    best = _best(board, {method: float(values.mean()) for method, values in errors.items()})
    found = compare_with(best, {method: errors[method] for method in board["method"]})
    seeds = len(errors[best])
    rows = [
        (method, best, seeds, d.mean, d.low, d.high, d.p, d.p_holm, d.verdict())
        for method, d in found.items()
    ]
    differences = pd.DataFrame(rows, columns=list(COLUMNS))
    verdicts = dict(zip(differences["method"], differences["verdict"], strict=True))
    # One seed compares with nothing: there is no best.
    verdicts[best] = "best" if any(verdicts.values()) else ""
    return board.assign(verdict=board["method"].map(verdicts)), differences


def _best(board: pd.DataFrame, errors: Mapping[str, float]) -> str:
    """Return the best method that is no bound; where all are, the best of all.

    Who does nothing against forgetting can be it: where none of those that compete does better,
    none of them is called the best.
    """
    rows = board.to_dict("records")
    names = [str(row["method"]) for row in rows if not row["is_bound"]]
    names = names or [str(row["method"]) for row in rows]
    return min(names, key=lambda name: (not math.isfinite(errors[name]), errors[name]))


def differences_caption(differences: pd.DataFrame, metric_label: str) -> str:
    """Say below the table of differences what it holds, and what its seeds cannot show."""
    if differences.empty:
        return "One method: nothing to compare."
    seeds = int(differences["seeds"].iloc[0])
    if seeds < 2:
        return "One seed: nothing can be said about whether methods differ. Train more seeds."
    label = f"{metrics.headlines()[0].label} ({metric_label})"
    return (
        f"Difference of the {label}; positive: worse. Paired over {seeds} seeds, which share "
        "initial weights and order of samples: t interval of each difference alone, two-sided t "
        "test, p corrected for all rows by Holm. On a par: p (Holm) ≥ 0.05, which is no proof of "
        "equality. The test takes differences over seeds to be normal; without that, no test of "
        f"{seeds} seeds gives a p below {smallest_exact_p(seeds):.2g}. The best method was chosen "
        "on the same seeds, which favours it a little."
    )


def ranks_figure(
    errors: Errors, *, title: str = "", blocks: str = "seeds", notes: Sequence[str] = ()
) -> plots.Figure | None:
    """Draw mean ranks with their critical difference, or None where they would say nothing.

    Parameters
    ----------
    errors
        Of three methods or more, in two blocks or more.
    title
        Above the figure.
    blocks
        What the blocks are.
    notes
        Sentences below it.
    """
    table = np.array(list(errors.values())).T
    if len(errors) < 3 or len(table) < 2:
        return None
    ranks = dict(zip(errors, map(float, mean_ranks(table)), strict=True))
    difference = critical_difference(len(errors), len(table))
    ordered = sorted(ranks, key=lambda method: ranks[method])
    places = groups_on_a_par([ranks[method] for method in ordered], difference)
    groups = [ordered[first : last + 1] for first, last in places]
    p = friedman_p(table)
    told = f"Nemenyi test at 5 % over {len(table)} {blocks}"
    told += "." if np.isnan(p) else f"; that all rank alike has p = {p:.2g} (Friedman)."
    return plots.critical_difference_figure(
        ranks, difference, groups, title=title, notes=[told, *notes]
    )


def ranked_methods(board: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the methods whose ranks are compared: all but bounds, which see other data."""
    return [str(row["method"]) for row in board if not row["is_bound"]]
