"""The figures of a comparison, from its tables and arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from insituml import plots
from insituml.data import Manifest
from insituml.safe_reading import map_npy
from insituml_pipelines.common.log import bar
from insituml_pipelines.common.workers import do_side_by_side
from insituml_pipelines.data.kind import FigureLabels
from insituml_pipelines.data.kinds import KINDS
from insituml_pipelines.results.labels import loss_label, metric_label, unit_note
from insituml_pipelines.results.significance import errors_by_seed, ranked_methods, ranks_figure
from insituml_pipelines.results.summary import Summary
from insituml_pipelines.results.tables import read_matrices
from insituml_pipelines.results.volume_figures import volume_figures


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
    title = titled(summaries, manifest)
    # Methods that are compared share the model, and so the metric.
    metric = next(summary.metric for summary in summaries.values())
    matrices = {m: read_matrices(root, m, "loss_matrix.csv", metric) for m in summaries}
    means = {m: mean_of_seeds(matrix) for m, matrix in matrices.items()}
    ordered = [m for m, summary in summaries.items() if summary.sequential]
    error: dict[str, Any] = {"metric_label": metric_label(metric)}
    unit = unit_note(metric, manifest)
    scale = _scale(means, metric)
    drifts = _drifts(ordered, root)
    seeds = len(next(iter(summaries.values())).seeds)
    averaged = f"Mean over {seeds} seeds." if seeds > 1 else "One seed."
    alike = "All methods' figures share one colour scale." if len(summaries) > 1 else ""
    drift_scale = {
        "vmax": _largest(drifts.values()),
        "notes": [averaged, alike if len(drifts) > 1 else ""],
    }
    own = [
        (
            method,
            f"{plots.method_label(method)} on {title}",
            (mean, {**error, **scale, "notes": [averaged, unit, alike]}),
            (drifts.get(method), drift_scale),
            summaries[method],
            manifest,
            root,
            folder,
        )
        for method, mean in means.items()
    ]
    shared = (summaries, rows, matrices, means, scale, [averaged, unit], title, manifest, metric)
    jobs: list[tuple[Any, ...]] = [(_draw_shared, *shared, root, folder)]
    jobs += [(draw_method, *arguments) for arguments in own]
    if workers == 0:
        for draw, *arguments in jobs:
            draw(*arguments)
    else:
        with bar(total=len(jobs), desc="plot", unit="method") as moving:
            do_side_by_side(_draw, jobs, workers, lambda *_: moving.update())


def _draw(tell: Callable[[Any], None], draw: Callable[..., None], *arguments: Any) -> None:
    """Run in a worker."""
    draw(*arguments)
    tell(None)


def _draw_shared(
    summaries: Mapping[str, Summary],
    rows: Sequence[dict[str, Any]],
    matrices: Mapping[str, np.ndarray],
    means: dict[str, np.ndarray],
    scale: dict[str, Any],
    notes: Sequence[str],
    title: str,
    manifest: Manifest,
    metric: str,
    root: Path,
    folder: Path,
) -> None:
    """Draw the figures in which methods are compared."""
    averaged, unit = notes
    names = manifest.task_names
    ordered = [m for m, summary in summaries.items() if summary.sequential]
    unordered = [m for m in summaries if m not in ordered]
    error: dict[str, Any] = {"metric_label": metric_label(metric)}
    shared: dict[str, Any] = {"task_names": names, "title": title, **error}
    log = scale["log"]
    figures = {
        "leaderboard": plots.leaderboard_figure(rows, title=title, notes=[unit], **error),
        "loss_matrices": plots.loss_matrix_grid(
            means, unordered=unordered, notes=[averaged, unit], **scale, **shared
        ),
        "first_task_error": plots.first_task_error(
            {m: _final_alone(r) if m in unordered else r for m, r in matrices.items()},
            log=log,
            **shared,
        ),
        "training_loss": _training_loss(summaries, root, names, title),
    }
    if ordered:
        curves = {m: matrices[m] for m in ordered}
        figures["forgetting_curves"] = plots.forgetting_curves(curves, log=log, **shared)
    errors = errors_by_seed(summaries)
    ranks = ranks_figure(
        {method: errors[method] for method in ranked_methods(rows)},
        title=title,
        notes=["Seeds of one experiment: this says nothing about other data."],
    )
    if ranks is not None:
        figures["critical_difference"] = ranks
    figures |= volume_figures(summaries, manifest, root, title)
    for name, figure in figures.items():
        plots.save(figure, folder / f"{name}.png")


def titled(summaries: Mapping[str, Summary], manifest: Manifest) -> str:
    """Return what figures call the comparison: by its experiment, and its data where those differ.

    One stream may be learned in several experiments, such as toy8 and toy8_flow.
    """
    (experiment, *others) = sorted({summary.experiment for summary in summaries.values()})
    if others or not experiment or experiment == manifest.name:
        return manifest.title
    if manifest.name in experiment:
        return manifest.title.replace(manifest.name, experiment, 1)
    return f"{experiment} ({manifest.title})"


def mean_of_seeds(matrices: np.ndarray) -> np.ndarray:
    """Return the mean over seeds; infinity where one diverged, NaN where one has no value."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(matrices).any(axis=0), np.inf, matrices.mean(axis=0))


def draw_method(
    method: str,
    heading: str,
    errors: tuple[np.ndarray, dict[str, Any]],
    drift: tuple[np.ndarray | None, dict[str, Any]],
    summary: Summary,
    manifest: Manifest,
    root: Path,
    folder: Path,
) -> None:
    """Draw the figures of one method: loss matrix, latent drift, reconstructions or samples.

    ``errors`` and ``drift`` are a matrix and what methods share: colour scale and notes.
    """
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
    # Where no task was learned yet, all seeds are NaN alike. Of one task there is but a 0.
    means = {m: mean_of_seeds(drift) for m, drift in found.items() if len(drift.T) > 1}
    return {m: mean for m, mean in means.items() if not np.isnan(mean).all()}


def _largest(arrays: Iterable[np.ndarray]) -> float | None:
    """Return the largest finite value of several arrays; None where there is none."""
    finite = [array[np.isfinite(array)] for array in arrays]
    return max((float(values.max()) for values in finite if values.size), default=None)


def _final_alone(matrices: np.ndarray) -> np.ndarray:
    """Return loss matrices with their last row alone: the others are of parts, not of tasks."""
    final = np.full_like(matrices, np.nan)
    final[:, -1] = matrices[:, -1]
    return final


def _training_loss(
    summaries: Mapping[str, Summary], root: Path, names: Sequence[str], title: str
) -> plots.Figure:
    """Draw the training losses of the first seed.

    A method that repeats earlier tasks takes more steps than the others, and is left out, as is one
    that takes none; one that learns all at once has steps, but no tasks of its own.
    """
    trained = [s for s in summaries.values() if not s.is_baseline] or [*summaries.values()]
    ordered = [summary for summary in trained if summary.sequential]
    steps = min(summary.task_steps for summary in ordered or trained)
    if not ordered:
        names = [f"part {k + 1} of {len(steps)}" for k in range(len(steps))]
    histories = {
        method: map_npy(root / "evaluations" / method / "loss_history.npy")[None]
        for method, summary in summaries.items()
        if (summary.task_steps == steps and summary in trained)
        or (not summary.sequential and summary.task_steps[-1] == steps[-1])
    }
    seed = min(next(iter(summaries.values())).seeds, key=int)
    notes = [f"Seed {seed} alone, with what a method adds to the loss."]
    if longer := [plots.method_label(m) for m in summaries if m not in histories]:
        steps_taken = "other steps" if len(trained) == len(summaries) else "other steps or none"
        notes.append(f"Left out, as they take {steps_taken}: {', '.join(longer)}.")
    return plots.loss_history(
        histories,
        task_boundaries=steps[:-1],
        task_names=names,
        title=title,
        metric_label=loss_label(next(iter(summaries.values()))),
        unordered=[m for m in histories if ordered and not summaries[m].sequential],
        notes=notes,
        spread=False,
    )


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
    shown = np.concatenate([matrix.ravel() for matrix in means.values()])
    finite = shown[np.isfinite(shown)]
    if not finite.size:
        return {"vmin": None, "vmax": None, "log": False}
    low = float(finite.min())
    log = metric != "nll" and low > 0
    if not log:
        learned = np.concatenate([m[np.tril_indices(len(m))] for m in means.values()])
        learned = learned[np.isfinite(learned)]
        finite = learned if learned.size else finite
    return {"vmin": low, "vmax": float(finite.max()), "log": log}
