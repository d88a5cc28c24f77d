"""What a sweep over settings found: the error by each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insituml.plots.method_style import method_label
from insituml.plots.notes import finish
from insituml.plots.style import MAX_WIDTH, compact, look, plain_log_numbers, settle

COLOR, BEST = "#0072B2", "#D55E00"
PANELS_PER_ROW = 3
WIDE = 10.0
"""Values of which the largest is this many times the smallest stand on a logarithmic axis."""


@look()
def sweep_slices(
    columns: Mapping[str, Sequence[str | None]],
    values: Sequence[float],
    *,
    label: str = "error",
    title: str = "",
) -> Figure:
    """Draw the error of each job against each setting that was varied, a panel a setting.

    The best job stands out in all panels; the line joins the best of each value.

    Parameters
    ----------
    columns
        Setting to its value in each job, as it was given; None where a job has no such setting.
    values
        Error of each job; lower is better.
    label
        What errors are.
    title
        Above the figure.

    Raises
    ------
    ValueError
        If there is no job, a column is of another length, or an error is not finite.
    """
    errors = np.asarray(values, dtype=float)
    if not len(errors) or not np.isfinite(errors).all():
        raise ValueError("values are empty or not all finite; give an error for each job")
    if wrong := [key for key, column in columns.items() if len(column) != len(errors)]:
        raise ValueError(
            f"{wrong[0]} has {len(columns[wrong[0]])} values for {len(errors)} jobs; give one each"
        )
    varied = {key: col for key, col in columns.items() if len(set(col)) > 1} or {
        "job": [str(number) for number in range(len(errors))]
    }
    rows = -(-len(varied) // PANELS_PER_ROW)
    figure = Figure(figsize=(MAX_WIDTH, 2.6 * rows + 0.6))
    every = figure.subplots(rows, min(len(varied), PANELS_PER_ROW), sharey=True, squeeze=False)
    best = int(errors.argmin())
    for axes, (key, column) in zip(every.ravel(), varied.items(), strict=False):
        _slice(axes, key, column, errors, best)
    for axes in every.ravel()[len(varied) :]:
        axes.set_visible(False)
    for axes in every[:, 0]:
        axes.set_ylabel(label)
    if errors.min() > 0 and errors.max() >= WIDE * errors.min():
        every[0, 0].set_yscale("log")
        plain_log_numbers(every[0, 0].yaxis)
    said = [
        f"A point is a job; the best, {compact(errors[best])}, is the large one. Lines join the "
        "best job of each value."
    ]
    finish(figure, title, said)
    return settle(figure)


def _slice(
    axes: Axes, key: str, column: Sequence[str | None], errors: np.ndarray, best: int
) -> None:
    taken = [k for k, value in enumerate(column) if value is not None]
    given = [str(column[k]) for k in taken]
    numbers = _numbers(given)
    if numbers is None:
        names = list(dict.fromkeys(given))
        places = np.array([names.index(value) for value in given], dtype=float)
        shown = [method_label(n) for n in names] if key == "method" else names
        axes.set_xticks(range(len(names)), shown, rotation=30 if len(names) > 2 else 0, ha="right")
        axes.margins(x=0.15)
    else:
        places = numbers
        if numbers.min() > 0 and numbers.max() >= WIDE * numbers.min():
            axes.set_xscale("log")
            plain_log_numbers(axes.xaxis)
    there = errors[taken]
    axes.plot(places, there, "o", color=COLOR, alpha=0.7)
    if numbers is not None and len(set(places)) > 1:
        each = np.unique(places)
        axes.plot(each, [there[places == x].min() for x in each], color=COLOR, linewidth=0.8)
    if best in taken:
        axes.plot(places[taken.index(best)], errors[best], "o", color=BEST, markersize=8)
    axes.set_xlabel(key)
    axes.grid(axis="y")


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    """Return values as numbers; None where one is none."""
    try:
        found = np.array([float(value) for value in values])
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None
