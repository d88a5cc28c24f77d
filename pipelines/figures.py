"""The figures of a comparison, from its tables and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from insituml import plots
from pipelines.leaderboard import read_matrices
from pipelines.task_files import Stream

ERROR = "mean squared error"
UNIT = {"field": " [per-component variance of task 0]", "images": "", "points": ""}


def draw_figures(
    summaries: dict[str, dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    stream: Stream,
    root: Path,
    folder: Path,
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
    """
    names = stream.task_names
    label = ERROR
    title = stream.info["name"]
    matrices = {m: read_matrices(root, m, "loss_matrix.csv", "mse") for m in summaries}
    drifts = {m: read_matrices(root, m, "latent_drift.csv", "latent_drift") for m in summaries}
    means = {m: matrix.mean(axis=0) for m, matrix in matrices.items()}
    sequential = {m: r for m, r in matrices.items() if summaries[m]["sequential"]}
    limits = (
        min(matrix.min() for matrix in means.values()),
        max(matrix.max() for matrix in means.values()),
    )
    scale: dict[str, Any] = {"vmin": limits[0], "vmax": limits[1], "log": True}

    plots.save(
        plots.leaderboard_figure(rows, metric_label=label, title=title), folder / "leaderboard.png"
    )
    plots.save(
        plots.loss_matrix_grid(means, task_names=names, title=title, metric_label=label, **scale),
        folder / "loss_matrices.png",
    )
    plots.save(
        plots.forgetting_curves(
            sequential, task_names=names, metric_label=label, title=title, log=True
        ),
        folder / "forgetting_curves.png",
    )
    plots.save(
        plots.first_task_error(
            matrices, task_names=names, metric_label=label, title=title, log=True
        ),
        folder / "first_task_error.png",
    )
    _loss_history(summaries, names, root, title, folder)
    for method, mean in means.items():
        heading = f"{plots.method_label(method)} on {title}"
        parts = [f"part {k + 1} of {len(names)}" for k in range(len(names))]
        plots.save(
            plots.loss_matrix_heatmap(
                mean,
                task_names=names,
                title=heading,
                metric_label=label,
                trained_labels=None if summaries[method]["sequential"] else parts,
                **scale,
            ),
            folder / f"loss_matrix_{method}.png",
        )
        plots.save(
            plots.latent_drift_heatmap(
                np.nanmean(drifts[method], axis=0) if drifts[method].size else drifts[method][0],
                task_names=names,
                title=heading,
            ),
            folder / f"latent_drift_{method}.png",
        )
        _reconstructions(method, heading, stream, root, folder)


def _loss_history(
    summaries: dict[str, dict[str, Any]], names: list[str], root: Path, title: str, folder: Path
) -> None:
    """Draw the training loss of the first seed, of methods that share the tasks' boundaries."""
    histories, boundaries = {}, []
    for method, summary in summaries.items():
        if summary["sequential"]:
            histories[method] = np.load(root / "evaluations" / method / "loss_history.npy")[None]
            boundaries = summary["task_steps"][:-1]
    if histories:
        figure = plots.loss_history(
            histories, task_boundaries=boundaries, task_names=names, title=title
        )
        plots.save(figure, folder / "training_loss.png")


def _reconstructions(method: str, heading: str, stream: Stream, root: Path, folder: Path) -> None:
    evaluation = root / "evaluations" / method
    originals = np.load(evaluation / "originals.npy")
    guesses = np.load(evaluation / "reconstructions.npy")
    order: dict[str, Any] = {
        "row_labels": stream.task_names,
        "learned_at": range(len(originals)) if method != "joint" else None,
        "title": heading,
    }
    kind = stream.info["kind"]
    if kind == "images":
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
