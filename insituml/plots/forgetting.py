"""How the error on a task evolves while later tasks are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from insituml.plots.arrays import every_nth, mean_and_band, names_of, seed_matrices, shown_places
from insituml.plots.loss_matrix import panel_columns
from insituml.plots.method_style import folded_label, method_label, method_styles
from insituml.plots.notes import finish, spread_notes
from insituml.plots.panel_rows import say_on_panel
from insituml.plots.style import (
    MAX_WIDTH,
    MOST_BANDS,
    SEQUENTIAL,
    height_for_labels,
    label_line_ends,
    look,
    plain_log_numbers,
    settle,
)

_TASK_MARKERS = "osD^vP<>Xp"


@look()
def forgetting_curves(
    matrices: Mapping[str, ArrayLike],
    *,
    task_names: Sequence[str] | None = None,
    metric_label: str = "error",
    title: str = "",
    log: bool = False,
) -> Figure:
    """Draw for each method how the error on every task evolves once it has been learned.

    One panel a method, one line a task from the moment it was learned; all panels share their
    axes. A line is the mean over seeds, its band one standard deviation to either side. A flat
    line is a task that is not forgotten. Of more than ten tasks ten are drawn.

    Parameters
    ----------
    matrices
        Method name to ``(seeds, K, K)``: error on task j after training through task k.
    task_names
        K names; numbers from 0 without.
    metric_label
        What the values are, with their unit.
    title
        Above the figure.
    log
        Logarithmic error axis.

    Raises
    ------
    ValueError
        If an array is not of this shape, or they differ in K, or the names do not fit.
    """
    arrays, names = _arrays_and_names(matrices, task_names)
    count = len(names)
    chosen = shown_places(count, 10)
    colors = dict(
        zip(
            chosen,
            matplotlib.colormaps[SEQUENTIAL](np.linspace(0, 0.88, len(chosen))),
            strict=True,
        )
    )

    columns = panel_columns(len(arrays))
    lines = -(-len(arrays) // columns)
    width = MAX_WIDTH if columns > 1 else 5.2
    figure = Figure(figsize=(width, min(2.0, 8.6 / lines) * lines + 1.1))
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in panels[len(arrays) :]:
        axes.remove()
    for place, (axes, (name, values)) in enumerate(zip(panels, arrays.items(), strict=False)):
        for task in chosen:
            steps = np.arange(task, count)
            mean, low, high = mean_and_band(values[:, task:, task])
            axes.fill_between(steps, low, high, color=colors[task], alpha=0.18, linewidth=0)
            axes.plot(
                steps,
                mean,
                color=colors[task],
                marker=_TASK_MARKERS[chosen.index(task)],
                markersize=3.5,
                label=names[task],
            )
        if log:
            axes.set_yscale("log")
            plain_log_numbers(axes.yaxis)
        if not np.isfinite(values).any():
            say_on_panel(axes, "no finite value")
        axes.set_title(folded_label(name, width / columns), fontsize=8, fontweight="bold")
        axes.grid(axis="y", which="both")
        axes.set_xlim(-0.3, count - 0.7)
        axes.set_xticks(every_nth(count, 6))
        axes.tick_params(labelbottom=place + columns >= len(arrays))
    figure.supylabel(metric_label)
    handles, labels = panels[0].get_legend_handles_labels()
    if task_names is not None:
        labels = [f"{task}: {label}" for task, label in zip(chosen, labels, strict=True)]
    notes = spread_notes(arrays, many=True)
    if len(chosen) < count:
        notes.append(f"{len(chosen)} of {count} tasks are drawn.")
    if count == 1:
        notes.append("There is one task: nothing could be forgotten.")
    finish(figure, title, notes, x_label="trained through task")
    figure.legend(
        handles,
        labels,
        loc="outside right upper",
        title="error on task",
        title_fontsize=7.5,
        alignment="left",
    )
    return settle(figure)


@look()
def first_task_error(
    matrices: Mapping[str, ArrayLike],
    *,
    task_names: Sequence[str] | None = None,
    metric_label: str = "error",
    title: str = "",
    log: bool = False,
) -> Figure:
    """Draw how well each method still knows the first task after every later one.

    A line is the mean over seeds, its band one standard deviation to either side; more than ten
    methods have no bands. A method measured after one task only, such as joint training, is a
    level across the figure.

    Parameters
    ----------
    matrices, task_names, metric_label, title, log
        As for :func:`forgetting_curves`.

    Raises
    ------
    ValueError
        If an array is not of this shape, or they differ in K, or the names do not fit.
    """
    arrays, names = _arrays_and_names(matrices, task_names)
    count = len(names)
    styles = method_styles(arrays)

    figure = Figure(figsize=(MAX_WIDTH, height_for_labels(len(arrays), 3.8)))
    axes = figure.add_subplot()
    if log:
        axes.set_yscale("log")
        plain_log_numbers(axes.yaxis)
    ends = []
    for name, values in arrays.items():
        style = styles[name]
        mean, low, high = mean_and_band(values[:, :, 0])
        measured = np.flatnonzero(np.isfinite(mean))
        if len(measured) == 1 and count > 1:
            mean, low, high = (np.full(count, line[measured[0]]) for line in (mean, low, high))
        if len(arrays) <= MOST_BANDS:
            axes.fill_between(range(count), low, high, color=style.color, alpha=0.12, linewidth=0)
        axes.plot(
            range(count),
            mean,
            color=style.color,
            marker=style.marker if len(measured) > 1 or count == 1 else None,
            linestyle=style.linestyle,
            label=style.label,
        )
        if len(measured):
            last = count - 1 if len(measured) == 1 else int(measured[-1])
            ends.append((last, float(mean[last]), style))
    axes.grid(axis="y", which="both")
    axes.set_xlim(-0.15, count - 0.85 if count > 1 else 0.5)
    places = every_nth(count, 12)
    axes.set_xticks(places, [names[place] for place in places])
    if sum(len(names[place]) for place in places) > 60:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    first = f"the first task ({names[0]})" if task_names is not None else "the first task"
    axes.set(xlabel="trained through task", ylabel=f"{metric_label} on\n{first}")
    levels = [
        method_label(name)
        for name, values in arrays.items()
        if count > 1 and np.isfinite(values[:, :, 0]).any(axis=0).sum() == 1
    ]
    notes = spread_notes(arrays)
    if levels:
        notes.append(f"Measured once, at the end, and drawn as a level: {', '.join(levels)}.")
    finish(figure, title, notes)
    if not ends:
        say_on_panel(axes, "no finite value")
    label_line_ends(axes, ends)
    return settle(figure)


def _arrays_and_names(
    matrices: Mapping[str, ArrayLike], task_names: Sequence[str] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return each method's ``(seeds, K, K)`` array, and the K names of tasks."""
    arrays = seed_matrices(matrices)
    return arrays, names_of(task_names, next(iter(arrays.values())).shape[-1])
