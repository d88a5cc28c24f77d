"""The figures of a comparison, from its tables and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from insituml import plots
from pipelines.leaderboard import read_matrices
from pipelines.task_files import Stream

ERROR = "mean squared error"


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
    matrices = {m: read_matrices(root, m, "loss_matrix.csv", "mse") for m in summaries}
    means = {m: matrix.mean(axis=0) for m, matrix in matrices.items()}
    sequential = {m: r for m, r in matrices.items() if summaries[m]["sequential"]}
    scale = {
        "vmin": float(min(matrix.min() for matrix in means.values())),
        "vmax": float(max(matrix.max() for matrix in means.values())),
    }
    own = [
        (method, mean, scale, summaries[method]["sequential"], stream, root, folder)
        for method, mean in means.items()
    ]
    if workers == 0:
        for arguments in own:
            draw_method(*arguments)
        pending: list[Future[None]] = []
    else:
        pool = ProcessPoolExecutor(workers, get_context("spawn"))
        pending = [pool.submit(draw_method, *arguments) for arguments in own]

    shared: dict[str, Any] = {"task_names": names, "title": title, "metric_label": ERROR}
    figures = {
        "leaderboard": plots.leaderboard_figure(rows, metric_label=ERROR, title=title),
        "loss_matrices": plots.loss_matrix_grid(means, log=True, **scale, **shared),
        "first_task_error": plots.first_task_error(matrices, log=True, **shared),
    }
    if sequential:
        figures["forgetting_curves"] = plots.forgetting_curves(sequential, log=True, **shared)
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
    scale: dict[str, float],
    sequential: bool,
    stream: Stream,
    root: Path,
    folder: Path,
) -> None:
    """Draw the figures of one method: loss matrix, latent drift, reconstructions."""
    names = stream.task_names
    heading = f"{plots.method_label(method)} on {stream.info['name']}"
    parts = [f"part {k + 1} of {len(names)}" for k in range(len(names))]
    figure = plots.loss_matrix_heatmap(
        matrix,
        task_names=names,
        title=heading,
        metric_label=ERROR,
        trained_labels=None if sequential else parts,
        log=True,
        **scale,
    )
    plots.save(figure, folder / f"loss_matrix_{method}.png")
    # The mean over seeds; where no task was learned yet, all are NaN alike.
    drift = read_matrices(root, method, "latent_drift.csv", "latent_drift").mean(axis=0)
    figure = plots.latent_drift_heatmap(drift, task_names=names, title=heading)
    plots.save(figure, folder / f"latent_drift_{method}.png")
    _reconstructions(method, heading, sequential, stream, root, folder)


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


def _reconstructions(
    method: str, heading: str, sequential: bool, stream: Stream, root: Path, folder: Path
) -> None:
    evaluation = root / "evaluations" / method
    originals = np.load(evaluation / "originals.npy")
    guesses = np.load(evaluation / "reconstructions.npy")
    order: dict[str, Any] = {
        "row_labels": stream.task_names,
        "learned_at": range(len(originals)) if sequential else None,
        "title": heading,
    }
    kind = stream.info["kind"]
    if kind == "images":
        if stream.info["permuted"]:
            order["title"] += ", pixels put back"
        figure = plots.image_grid(originals, guesses, **order)
        plots.save(figure, folder / f"reconstructions_{method}.png")
    elif kind == "points":
        figure = plots.point_clouds(originals, guesses, **order)
        plots.save(figure, folder / f"reconstructions_{method}.png")
    else:
        for index, component in enumerate(stream.info["components"]):
            figure = plots.reconstruction_grid(
                originals[:, index],
                guesses[:, :, index],
                extent=_extent(stream.info["grid"]),
                axis_labels=("y", "x"),
                unit=stream.info["unit"],
                component=component,
                **order,
            )
            plots.save(figure, folder / f"reconstructions_{method}_{component}.png")


def _extent(grid: dict[str, Any]) -> tuple[float, float, float, float]:
    """Return (left, right, bottom, top) of the x-y plane in µm, y horizontal, cell edges."""
    (nx, ny, _), (dx, dy, _), (x0, y0, _) = grid["shape"], grid["spacing"], grid["origin"]
    edges = (y0 - dy / 2, y0 + (ny - 0.5) * dy, x0 - dx / 2, x0 + (nx - 0.5) * dx)
    left, right, bottom, top = (1e6 * edge for edge in edges)
    return left, right, bottom, top
