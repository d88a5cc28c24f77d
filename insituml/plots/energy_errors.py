"""How much of a field's energy reconstructions keep, from iteration to iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from insituml.plots.arrays import names_of
from insituml.plots.method_style import method_styles
from insituml.plots.notes import finish
from insituml.plots.panel_rows import say_on_panel
from insituml.plots.style import (
    MAX_WIDTH,
    height_for_labels,
    label_line_ends,
    look,
    settle,
)
from insituml.plots.task_bands import draw_task_bands

_MOST = 2.0
"""Relative errors beyond which the axis grows logarithmically, so that others stay apart."""


@look()
def energy_errors(
    iterations: ArrayLike,
    energies: ArrayLike,
    restored: Mapping[str, ArrayLike],
    *,
    tasks: Sequence[int],
    task_names: Sequence[str] | None = None,
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Draw the relative error of the field energy at each held-out iteration, (Ŵ − W) / W.

    Below 0 energy is lost, as where reconstructions are smoother than the field. Iterations
    without any field are left out.

    Parameters
    ----------
    iterations
        ``(n,)``, ascending.
    energies
        ``(n,)``: of the field.
    restored
        Method name to the same of its reconstructions.
    tasks
        ``(n,)``: the task of each iteration; every other one is shaded.
    task_names
        By task; numbers from 0 without.
    title, notes
        Above and below the figure.

    Raises
    ------
    ValueError
        If the arrays differ in length.
    """
    when, whole = np.asarray(iterations, dtype=float), np.asarray(energies, dtype=float)
    of = np.asarray(tasks, dtype=int)
    made = {name: np.asarray(values, dtype=float) for name, values in restored.items()}
    lengths = {v.shape for v in (when, whole, of, *made.values())}
    if len(lengths) > 1 or when.ndim != 1 or not when.size:
        raise ValueError(
            f"iterations, energies, tasks and restored must all have one shape (n,), got {lengths}"
        )
    names = names_of(task_names, int(of.max()) + 1)
    styles = method_styles(made)
    figure = Figure(figsize=(MAX_WIDTH, height_for_labels(len(made), 3.8)))
    axes = figure.add_subplot()
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = {name: np.where(whole > 0, v / whole - 1, np.nan) for name, v in made.items()}
    found = np.concatenate(list(errors.values()))
    finite = np.abs(found[np.isfinite(found)])
    if finite.size and finite.max() > _MOST:
        axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    edges = _edges(when, of)
    axes.set_xlim(edges[0], edges[-1])
    draw_task_bands(axes, edges, [names[task] for task in dict.fromkeys(of.tolist())])
    axes.axhline(0, color="0.3", linewidth=0.8, zorder=0.6)
    ends = []
    for name, values in errors.items():
        style = styles[name]
        axes.plot(
            when,
            values,
            color=style.color,
            linestyle=style.linestyle,
            marker=style.marker,
            markersize=3.5,
            label=style.label,
        )
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            ends.append((float(when[known[-1]]), float(values[known[-1]]), style))
    axes.grid(axis="y")
    axes.set(xlabel="held-out iteration", ylabel="relative error of the field energy")
    finish(figure, title, notes)
    if not ends:
        say_on_panel(axes, "no finite value")
    label_line_ends(axes, ends)
    return settle(figure)


def _edges(when: np.ndarray, of: np.ndarray) -> list[float]:
    """Return where tasks begin and end: halfway between the last of one and the first of the next.

    Both ends lie as far out.
    """
    changes = np.flatnonzero(np.diff(of)) + 1
    between = [float((when[c - 1] + when[c]) / 2) for c in changes]
    steps = np.diff(when) if len(when) > 1 else np.ones(1)
    return [float(when[0] - steps[0] / 2), *between, float(when[-1] + steps[-1] / 2)]
