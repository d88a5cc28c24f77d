"""The figures of a comparison, from its tables and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from insituml import plots
from insituml.data import Manifest
from insituml.safe_reading import map_npy
from pipelines.data.kind import FigureLabels
from pipelines.data.kinds import KINDS
from pipelines.results.summary import Summary
from pipelines.results.tables import read_matrices

# Learners see normalised data, whatever their kind: so are the errors of what they reconstruct.
LABELS = {
    "mse": "MSE (normalised)",
    "l1": "mean absolute error (normalised)",
    "nll": "negative log-likelihood [nats]",
}


def draw_figures(
    summaries: Mapping[str, Summary],
    rows: Sequence[dict[str, Any]],
    manifest: Manifest,
    root: Path,
    folder: Path,
    workers: int,
) -> None:
    """Draw every figure below ``folder``.

    Parameters
    ----------
    summaries
        By method, as the evaluate stage writes them.
    rows
        The leaderboard, best method first.
    manifest
        Of the split stream.
    root
        Holds ``evaluations/``.
    folder
        Gets one PNG a figure; those of one method are called ``<figure>_<method>.png``.
    workers
        Processes that draw the methods' own figures; 0: this one.
    """
    names, title = manifest.task_names, manifest.title
    # Methods that are compared share the model, and so the metric.
    metric = next(summary.metric for summary in summaries.values())
    matrices = {m: read_matrices(root, m, "loss_matrix.csv", metric) for m in summaries}
    means = {m: matrix.mean(axis=0) for m, matrix in matrices.items()}
    ordered = [m for m, summary in summaries.items() if summary.sequential]
    error: dict[str, Any] = {"metric_label": LABELS.get(metric, metric)}
    scale = _scale(means, metric)
    drifts = _drifts(ordered, root)
    drift_scale = {"vmax": max((float(np.nanmax(d)) for d in drifts.values()), default=None)}
    own = [
        (
            method,
            (mean, {**error, **scale}),
            (drifts.get(method), drift_scale),
            summaries[method],
            manifest,
            root,
            folder,
        )
        for method, mean in means.items()
    ]
    if workers == 0:
        for arguments in own:
            draw_method(*arguments)
        pending: list[Future[None]] = []
    else:
        pool = ProcessPoolExecutor(workers, get_context("spawn"))
        pending = [pool.submit(draw_method, *arguments) for arguments in own]

    shared: dict[str, Any] = {"task_names": names, "title": title, **error}
    log = scale["log"]
    unordered = [m for m in summaries if m not in ordered]
    figures = {
        "leaderboard": plots.leaderboard_figure(rows, title=title, **error),
        "loss_matrices": plots.loss_matrix_grid(means, unordered=unordered, **scale, **shared),
        "first_task_error": plots.first_task_error(
            {m: _final_alone(r) if m in unordered else r for m, r in matrices.items()},
            log=log,
            **shared,
        ),
    }
    if ordered:
        curves = {m: matrices[m] for m in ordered}
        figures["forgetting_curves"] = plots.forgetting_curves(curves, log=log, **shared)
        histories, boundaries = _loss_histories({m: summaries[m] for m in ordered}, root)
        figures["training_loss"] = plots.loss_history(
            histories, task_boundaries=boundaries, task_names=names, title=title
        )
    for name, figure in figures.items():
        plots.save(figure, folder / f"{name}.png")
    for future in pending:
        future.result()
    if pending:
        pool.shutdown()


def draw_method(
    method: str,
    errors: tuple[np.ndarray, dict[str, Any]],
    drift: tuple[np.ndarray | None, dict[str, Any]],
    summary: Summary,
    manifest: Manifest,
    root: Path,
    folder: Path,
) -> None:
    """Draw the figures of one method: loss matrix, latent drift, reconstructions or samples.

    ``errors`` and ``drift`` are a matrix and the colour scale that methods share.
    """
    heading = f"{plots.method_label(method)} on {manifest.title}"
    shared: dict[str, Any] = {"task_names": manifest.task_names, "title": heading}
    matrix, scale = errors
    figure = plots.loss_matrix_heatmap(matrix, in_order=summary.sequential, **shared, **scale)
    plots.save(figure, folder / f"loss_matrix_{method}.png")
    moved, scale = drift
    if moved is not None:
        figure = plots.latent_drift_heatmap(moved, **shared, **scale)
        plots.save(figure, folder / f"latent_drift_{method}.png")
    _examples(method, heading, summary, manifest, root, folder)


def _drifts(methods: Iterable[str], root: Path) -> dict[str, np.ndarray]:
    """Return each method's latent drift, where it has any; methods that learn task by task alone.

    Others have no moment at which a task had just been learned.
    """
    found = {m: read_matrices(root, m, "latent_drift.csv", "latent_drift") for m in methods}
    # The mean over seeds; where no task was learned yet, all are NaN alike.
    return {m: drift.mean(axis=0) for m, drift in found.items() if drift.size}


def _final_alone(matrices: np.ndarray) -> np.ndarray:
    """Return loss matrices with their last row alone: the others are of parts, not of tasks."""
    final = np.full_like(matrices, np.nan)
    final[:, -1] = matrices[:, -1]
    return final


def _loss_histories(
    summaries: Mapping[str, Summary], root: Path
) -> tuple[dict[str, np.ndarray], list[int]]:
    """Return the training losses of the first seed, and where tasks begin.

    A method that repeats earlier tasks takes more steps than the others, and is left out.
    """
    steps = min(summary.task_steps for summary in summaries.values())
    histories = {
        method: map_npy(root / "evaluations" / method / "loss_history.npy")[None]
        for method, summary in summaries.items()
        if summary.task_steps == steps
    }
    return histories, steps[:-1]


def _examples(
    method: str,
    heading: str,
    summary: Summary,
    manifest: Manifest,
    root: Path,
    folder: Path,
) -> None:
    evaluation = root / "evaluations" / method
    originals = map_npy(evaluation / "originals.npy")
    guesses = map_npy(evaluation / "examples.npy")
    generative = summary.generative
    name = f"samples_{method}" if generative else f"reconstructions_{method}"
    parts = [f"after part {k + 1}" for k in range(guesses.shape[1])]
    labels = FigureLabels(
        title=heading,
        row_labels=manifest.task_names,
        learned_at=range(len(originals)) if summary.sequential else None,
        column_labels=None if summary.sequential else parts,
    )
    figures = KINDS[manifest.kind].draw(
        originals, guesses, manifest, generative=generative, labels=labels
    )
    for ending, figure in figures.items():
        plots.save(figure, folder / f"{name}{ending}.png")


def _scale(means: dict[str, np.ndarray], metric: str) -> dict[str, Any]:
    """Return one colour scale for all methods.

    Logarithmic, but for a likelihood: that may be negative, and is so bad on tasks not yet seen
    that the scale ends at the worst value on tasks that were.
    """
    low = float(min(matrix.min() for matrix in means.values()))
    log = metric != "nll" and low > 0
    shown = [m if log else m[np.tril_indices(len(m))] for m in means.values()]
    return {"vmin": low, "vmax": float(max(values.max() for values in shown)), "log": log}
