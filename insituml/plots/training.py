"""The training loss over the steps of a whole stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from insituml.plots.arrays import mean_and_band, names_of
from insituml.plots.method_style import method_label, method_styles
from insituml.plots.notes import diverged_notes, finish, spread_notes
from insituml.plots.panel_rows import say_on_panel
from insituml.plots.style import (
    MAX_WIDTH,
    MOST_BANDS,
    height_for_labels,
    label_line_ends,
    look,
    plain_log_numbers,
    settle,
)
from insituml.plots.task_bands import draw_task_bands


@look()
def loss_history(
    histories: Mapping[str, ArrayLike],
    *,
    task_boundaries: Sequence[int],
    task_names: Sequence[str] | None = None,
    metric_label: str = "training loss",
    title: str = "",
    window: int | None = None,
    log: bool = True,
    unordered: Collection[str] = (),
    notes: Sequence[str] = (),
    spread: bool = True,
) -> Figure:
    """Draw each method's training loss over all steps, every other task shaded.

    The loss is smoothed by a centred running mean over ``window`` steps that stops at task
    boundaries, so the jump to a new task stays sharp. A line is the mean over seeds, its band one
    standard deviation to either side; more than ten methods have no bands.

    Parameters
    ----------
    histories
        Method name to ``(seeds, steps)``; methods may differ in their number of steps.
    task_boundaries
        ``(K - 1,)``: the steps at which the second, third, ... task begins.
    task_names
        K names; numbers from 0 without.
    metric_label
        What the loss is, with its unit.
    title
        Above the figure.
    window
        Steps to average over: 1 for none; without, a hundredth of the longest history.
    log
        Logarithmic loss axis; linear between −1 and 1 where a loss, such as a negative
        log-likelihood, is not positive.
    unordered
        Methods that learn all tasks at once: the shaded tasks are not theirs, which the figure
        says.
    notes
        Sentences below the figure, before its own.
    spread
        Whether the figure says what its bands are; not where these are of one seed by choice.

    Raises
    ------
    ValueError
        If a history is not of this shape, or boundaries, window or names do not fit.
    """
    arrays = {name: np.asarray(history, dtype=float) for name, history in histories.items()}
    if not arrays:
        raise ValueError("histories is empty; give at least one method")
    for name, array in arrays.items():
        if array.ndim != 2 or array.size == 0:
            hint = "; add a first axis for the seeds" if array.ndim == 1 else ""
            raise ValueError(
                f"histories[{name!r}] must have shape (seeds, steps), got {array.shape}{hint}"
            )
    steps = max(array.shape[1] for array in arrays.values())
    edges = [0, *(int(boundary) for boundary in task_boundaries), steps]
    if any(left >= right for left, right in pairwise(edges)):
        raise ValueError(
            f"task_boundaries must increase strictly between 0 and {steps} (the steps), "
            f"got {edges[1:-1]}"
        )
    names = names_of(task_names, len(edges) - 1)
    window = max(1, steps // 100) if window is None else window
    if window < 1:
        raise ValueError(f"window must be at least 1 step, got {window}")
    styles = method_styles(arrays)

    figure = Figure(figsize=(MAX_WIDTH, height_for_labels(len(arrays), 3.8)))
    axes = figure.add_subplot()
    if log and all((array[np.isfinite(array)] > 0).all() for array in arrays.values()):
        axes.set_yscale("log")
        plain_log_numbers(axes.yaxis)
    elif log:
        axes.set_yscale("symlog", linthresh=1)
    draw_task_bands(axes, edges, names)
    ends = []
    spacing = max(1, steps // 10)
    for place, (name, array) in enumerate(arrays.items()):
        style = styles[name]
        mean, low, high = mean_and_band(_smooth(array, edges, window))
        where = np.arange(array.shape[1])
        if len(arrays) <= MOST_BANDS:
            axes.fill_between(where, low, high, color=style.color, alpha=0.12, linewidth=0)
        axes.plot(
            where,
            mean,
            color=style.color,
            linestyle=style.linestyle,
            linewidth=1.0,
            marker=style.marker,
            # Some ten markers a line, each line's at other steps than its neighbours'.
            markevery=(round((place + 0.5) / len(arrays) * spacing), spacing),
            markersize=3.5,
            label=style.label,
        )
        measured = np.flatnonzero(np.isfinite(mean))
        if len(measured):
            last = int(measured[-1])
            ends.append((last, float(mean[last]), style))
    axes.set_xlim(0, steps)
    axes.grid(axis="y")
    smoothed = f",\nrunning mean over {window} steps" if window > 1 else ""
    axes.set(xlabel="training step", ylabel=f"{metric_label}{smoothed}")
    said = [*notes, *(spread_notes(arrays) if spread else diverged_notes(arrays))]
    if at_once := [method_label(name) for name in arrays if name in unordered]:
        said.append(f"On all tasks at once, not in the order shown: {', '.join(at_once)}.")
    finish(figure, title, said)
    if not ends:
        say_on_panel(axes, "no finite value")
    label_line_ends(axes, ends)
    return settle(figure)


def _smooth(values: np.ndarray, edges: Sequence[int], window: int) -> np.ndarray:
    """Centred running mean along the last axis within each ``[edge, next edge)``, passing over NaN.

    Near the ends of a stretch the window holds fewer steps.
    """
    smooth = np.full_like(values, np.nan)
    for left, right in pairwise(edges):
        stretch = values[:, left:right]
        if not stretch.shape[1]:
            continue
        size = min(window, stretch.shape[1])
        kernel = np.ones(size)
        valid = np.isfinite(stretch)
        for seed, (row, counted) in enumerate(zip(stretch, valid, strict=True)):
            total = np.convolve(np.where(counted, row, 0.0), kernel, mode="same")
            number = np.rint(np.convolve(counted.astype(float), kernel, mode="same"))
            np.divide(total, number, out=smooth[seed, left:right], where=number > 0)
    return smooth
