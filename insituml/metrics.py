"""From a loss matrix to numbers, and one table of all of them: :data:`METRICS`.

R[k, j] is the error on task j after training through task k. Errors, not accuracies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from insituml.gap import REFERENCE, end_of_gap, gap_closed
from insituml.metric import Matrix, Metric, Numbers, RunResult


def final_average_error(matrix: Matrix) -> float:
    """Mean error over all tasks at the end, ``mean_j R[K-1, j]``."""
    return float(_checked(matrix)[-1].mean())


def final_known_error(matrix: Matrix) -> float:
    """Mean of the last row over the tasks on which an error is defined; NaN where it is on none.

    Undefined is what no row has: the relative error of a component that is 0 all through a task.
    """
    matrix = _checked(matrix)
    known = ~np.isnan(matrix).all(axis=0)
    return float(matrix[-1, known].mean()) if known.any() else math.nan


def main_error(untrained: Mapping[str, np.ndarray]) -> str:
    """Return which error a learner is judged by: the first that is defined on every task.

    Parameters
    ----------
    untrained
        By the errors' names, ``(K,)``: those of the untrained model.
    """
    defined = [name for name, values in untrained.items() if not np.isnan(values).any()]
    return next(iter(defined or untrained))


def forgetting(matrix: Matrix) -> float:
    """Mean over tasks j < K-1 of the final error minus the best since the task was learned.

    ``R[K-1, j] − min_{k ≥ j} R[k, j]``: never negative, 0 for a single task.

    References
    ----------
    Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018, eq. 3, for a loss.
    """
    matrix = _checked(matrix)
    earlier = range(len(matrix) - 1)
    return _mean([matrix[-1, j] - matrix[j:, j].min() for j in earlier])


def backward_transfer(matrix: Matrix) -> float:
    """Mean over tasks j < K-1 of ``R[K-1, j] − R[j, j]``; positive: learned, then lost.

    References
    ----------
    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017, eq. 3.
    """
    matrix = _checked(matrix)
    return _mean([matrix[-1, j] - matrix[j, j] for j in range(len(matrix) - 1)])


def forward_transfer(matrix: Matrix, untrained: np.ndarray) -> float:
    """Mean over tasks j ≥ 1 of ``R[j-1, j] − b_j``; negative: earlier tasks helped.

    Parameters
    ----------
    matrix
        ``(K, K)``.
    untrained
        ``(K,)``, the error b_j of the untrained model on each task.

    References
    ----------
    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017, eq. 4.
    """
    matrix = _checked(matrix)
    if untrained.shape != matrix.shape[:1]:
        raise ValueError(
            f"untrained has shape {untrained.shape}; expected one error a task, {matrix.shape[:1]}"
        )
    return _mean([matrix[j - 1, j] - untrained[j] for j in range(1, len(matrix))])


def average_error_of_seen_tasks(matrix: Matrix) -> np.ndarray:
    """Mean error over the tasks up to each, ``mean_{j ≤ k} R[k, j]``, as ``(K,)``."""
    matrix = _checked(matrix)
    return np.array([row[: k + 1].mean() for k, row in enumerate(matrix)])


def _checked(matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"the loss matrix has shape {matrix.shape}; expected one row and one column a task"
        )
    return matrix


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _memory(run: RunResult) -> float:
    # Of a method that keeps all data it is the size of the stream: nothing to compare.
    return math.nan if run.keeps_all_data else run.memory_bytes


def _gap_closed(own: Numbers, methods: Mapping[str, Numbers]) -> float:
    end = end_of_gap(methods)
    if REFERENCE not in methods or end is None:
        return math.nan
    errors = [n["final_average_error"] for n in (own, methods[REFERENCE], methods[end])]
    return gap_closed(*errors)


METRICS: tuple[Metric, ...] = (
    Metric(
        "final_average_error",
        "final average error",
        of_run=lambda run: final_average_error(run.matrix),
    ),
    Metric(
        "forgetting",
        "forgetting",
        of_run=lambda run: forgetting(run.matrix),
        needs_order=True,
    ),
    Metric(
        "backward_transfer",
        "backward transfer",
        of_run=lambda run: backward_transfer(run.matrix),
        needs_order=True,
        headline=False,
    ),
    Metric(
        "forward_transfer",
        "forward transfer",
        of_run=lambda run: forward_transfer(run.matrix, run.untrained),
        needs_order=True,
        headline=False,
    ),
    Metric(
        "gap_closed",
        "gap closed",
        better="higher",
        kind="share",
        of_comparison=_gap_closed,
        no_help=0.0,
        of_gap=True,
    ),
    Metric("memory_bytes", "memory", kind="bytes", of_run=_memory),
    Metric("flops", "FLOPs", kind="count", of_run=lambda run: run.flops, drawn=False),
    Metric(
        "samples_seen",
        "samples seen",
        kind="count",
        of_run=lambda run: run.samples_seen,
        drawn=False,
    ),
    Metric(
        "samples_replayed",
        "replayed",
        kind="count",
        of_run=lambda run: run.samples_replayed,
        drawn=False,
    ),
)
"""Every number that methods are compared by, in the order of the tables' columns."""


def competes(method: str, *, is_bound: bool) -> bool:
    """Return whether a method can be the best: bounds and who does nothing stand beside."""
    return not is_bound and method != REFERENCE


def headlines() -> tuple[Metric, ...]:
    """Return the metrics of the short tables and the figure."""
    return tuple(metric for metric in METRICS if metric.headline)


def of_run(run: RunResult) -> dict[str, float]:
    """Return what one run says by itself; NaN for what needs an order that it does not have."""
    return {
        metric.name: metric.of_run(run) if run.sequential or not metric.needs_order else math.nan
        for metric in METRICS
        if metric.of_run
    }


def of_comparison(methods: Mapping[str, Numbers]) -> dict[str, dict[str, float]]:
    """Return all numbers of methods that were trained with one seed.

    Parameters
    ----------
    methods
        By method, as :func:`of_run` returns them.
    """
    compared = {metric.name: metric.of_comparison for metric in METRICS if metric.of_comparison}
    return {
        method: {**own, **{name: call(own, methods) for name, call in compared.items()}}
        for method, own in methods.items()
    }
