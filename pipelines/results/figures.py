"""The figures of a comparison, from its tables and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from insituml import plots
from pipelines.common.task_files import Stream
from pipelines.results.plane import plane_of
from pipelines.results.tables import read_matrices

LABELS = {"mse": "mean squared error", "nll": "negative log-likelihood [nats]"}


def draw_figures(
    summaries: dict[str, dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    stream: Stream,
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
    stream
        The split stream.
    root
        Holds ``evaluations/``.
    folder
        Gets one PNG a figure; those of one method are called ``<figure>_<method>.png``.
    workers
        Processes that draw the methods' own figures; 0: this one.
    """
    names, title = stream.task_names, stream.info["name"]
    # Methods that are compared share the model, and so the metric.
    metric = next(summary["metric"] for summary in summaries.values())
    matrices = {m: read_matrices(root, m, "loss_matrix.csv", metric) for m in summaries}
    means = {m: matrix.mean(axis=0) for m, matrix in matrices.items()}
    sequential = {m: r for m, r in matrices.items() if summaries[m]["sequential"]}
    error: dict[str, Any] = {"metric_label": LABELS.get(metric, metric)}
    scale = _scale(means, metric)
    own = [
        (method, mean, {**error, **scale}, summaries[method], stream, root, folder)
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
    figures = {
        "leaderboard": plots.leaderboard_figure(rows, title=title, **error),
        "loss_matrices": plots.loss_matrix_grid(means, **scale, **shared),
        "first_task_error": plots.first_task_error(matrices, log=log, **shared),
    }
    if sequential:
        figures["forgetting_curves"] = plots.forgetting_curves(sequential, log=log, **shared)
        _loss_history(sequential, summaries, stream, root, folder)
    for name, figure in figures.items():
        plots.save(figure, folder / f"{name}.png")
    for future in pending:
        future.result()
    if pending:
        pool.shutdown()


def draw_method(
    method: str,
    matrix: np.ndarray,
    scale: dict[str, Any],
    summary: dict[str, Any],
    stream: Stream,
    root: Path,
    folder: Path,
) -> None:
    """Draw the figures of one method: loss matrix, latent drift, reconstructions or samples."""
    names, sequential = stream.task_names, summary["sequential"]
    heading = f"{plots.method_label(method)} on {stream.info['name']}"
    parts = [f"part {k + 1} of {len(names)}" for k in range(len(names))]
    figure = plots.loss_matrix_heatmap(
        matrix,
        task_names=names,
        title=heading,
        trained_labels=None if sequential else parts,
        **scale,
    )
    plots.save(figure, folder / f"loss_matrix_{method}.png")
    # The mean over seeds; where no task was learned yet, all are NaN alike.
    drift = read_matrices(root, method, "latent_drift.csv", "latent_drift")
    if drift.size:
        figure = plots.latent_drift_heatmap(drift.mean(axis=0), task_names=names, title=heading)
        plots.save(figure, folder / f"latent_drift_{method}.png")
    _examples(method, heading, summary, stream, root, folder)


def _loss_history(
    methods: Iterable[str],
    summaries: dict[str, dict[str, Any]],
    stream: Stream,
    root: Path,
    folder: Path,
) -> None:
    """Draw the training loss of the first seed, of methods that share the tasks' boundaries."""
    histories = {m: np.load(root / "evaluations" / m / "loss_history.npy")[None] for m in methods}
    boundaries = next(summaries[m]["task_steps"][:-1] for m in histories)
    figure = plots.loss_history(
        histories,
        task_boundaries=boundaries,
        task_names=stream.task_names,
        title=stream.info["name"],
    )
    plots.save(figure, folder / "training_loss.png")


def _examples(
    method: str,
    heading: str,
    summary: dict[str, Any],
    stream: Stream,
    root: Path,
    folder: Path,
) -> None:
    evaluation = root / "evaluations" / method
    originals = np.load(evaluation / "originals.npy")
    guesses = np.load(evaluation / "examples.npy")
    generative = summary["generative"]
    name = f"samples_{method}" if generative else f"reconstructions_{method}"
    order: dict[str, Any] = {
        "row_labels": stream.task_names,
        "learned_at": range(len(originals)) if summary["sequential"] else None,
        "title": heading,
    }
    kind = stream.info["kind"]
    if kind == "images":
        if stream.info["permuted"]:
            order["title"] += ", pixels put back"
        figure = plots.image_grid(originals, guesses, **order)
        plots.save(figure, folder / f"{name}.png")
    elif kind == "points":
        figure = plots.point_clouds(originals, guesses, beneath=generative, **order)
        plots.save(figure, folder / f"{name}.png")
    else:
        for index, component in enumerate(stream.info["components"]):
            figure = plots.reconstruction_grid(
                originals[:, index],
                guesses[:, :, index],
                extent=_extent(stream.info["grid"]),
                axis_labels=_axis_labels(stream.info["grid"]),
                unit=stream.info["unit"],
                component=component,
                **order,
            )
            plots.save(figure, folder / f"{name}_{component}.png")


def _scale(means: dict[str, np.ndarray], metric: str) -> dict[str, Any]:
    """Return one colour scale for all methods.

    Logarithmic, but for a likelihood: that may be negative, and is so bad on tasks not yet seen
    that the scale ends at the worst value on tasks that were.
    """
    low = float(min(matrix.min() for matrix in means.values()))
    log = metric != "nll" and low > 0
    shown = [m if log else m[np.tril_indices(len(m))] for m in means.values()]
    return {"vmin": low, "vmax": float(max(values.max() for values in shown)), "log": log}


def _extent(grid: dict[str, Any]) -> tuple[float, float, float, float]:
    """Return (left, right, bottom, top) of the plane shown in µm, cell edges."""
    up, right, _ = plane_of(grid["shape"])
    edges = []
    for axis in (right, up):
        points, spacing, origin = (grid[key][axis] for key in ("shape", "spacing", "origin"))
        edges += [origin - spacing / 2, origin + (points - 0.5) * spacing]
    left, end, bottom, top = (1e6 * edge for edge in edges)
    return left, end, bottom, top


def _axis_labels(grid: dict[str, Any]) -> tuple[str, str]:
    up, right, _ = plane_of(grid["shape"])
    return grid["axis_labels"][right], grid["axis_labels"][up]
