"""At which wave numbers reconstructions err: spectra of the field and of the methods' errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from insituml.plots.arrays import names_of, shown_places
from insituml.plots.method_style import MethodStyle, method_styles
from insituml.plots.notes import diverged_notes, finish
from insituml.plots.style import MAX_WIDTH, look, plain_log_numbers, settle
from insituml.plots.units import in_brackets, scaled_unit

_DECADES = 10.0
"""Powers of ten below its largest value at which an axis ends: beneath lies rounding."""


@look()
def error_spectra(
    wave_numbers: ArrayLike,
    fields: ArrayLike,
    errors: Mapping[str, ArrayLike],
    *,
    components: Sequence[str],
    units: Sequence[str] = (),
    task_names: Sequence[str] | None = None,
    axis: str = "",
    in_metres: bool = True,
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Draw the mean square of field and errors by wave number: a row a component, a column a task.

    Where a method's line meets that of the field, it knows nothing of these wavelengths. Of more
    than six components six are drawn. Wave number 0, the mean, has no place on the axis.

    Parameters
    ----------
    wave_numbers
        ``(n,)``, angular, in 1/m, ascending from 0.
    fields
        ``(tasks, components, n)``: the mean square of the field at each of them, in the square of
        the component's unit.
    errors
        Method name to the same of its errors.
    components
        Their names.
    units
        A unit each; none given: without.
    task_names
        Names of the tasks; numbers from 0 without.
    axis
        Along which the waves run.
    in_metres
        Whether wave numbers are in 1/m; if not, in 1/point.
    title, notes
        Above and below the figure.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or the names them.
    """
    k, field = np.asarray(wave_numbers, dtype=float), np.asarray(fields, dtype=float)
    made = {name: np.asarray(values, dtype=float) for name, values in errors.items()}
    if field.ndim != 3 or field.shape[2] != k.size or k.size < 2:
        raise ValueError(
            f"fields must have shape (tasks, components, {k.size}) for {k.size} wave numbers, at "
            f"least 2, got {field.shape}"
        )
    for name, values in made.items():
        if values.shape != field.shape:
            raise ValueError(
                f"errors[{name!r}] must have the fields' shape {field.shape}, got {values.shape}"
            )
    tasks = names_of(task_names, len(field))
    names = names_of(components, field.shape[1], "components")
    given = names_of(units or [""] * len(names), len(names), "units")
    rows, styles = shown_places(len(names)), method_styles(made)

    height = min(1.75, 8.4 / len(rows)) * len(rows) + 1.1
    figure = Figure(figsize=(MAX_WIDTH if len(tasks) > 1 else 5.4, height))
    panels = figure.subplots(len(rows), len(tasks), sharex=True, sharey="row", squeeze=False)
    per_metre, length = scaled_unit("m", 2 * np.pi / float(k[1]))
    per_metre, length = (per_metre, length) if in_metres else (1.0, "point")
    for place, c in enumerate(rows):
        for task, axes in enumerate(panels[place]):
            _draw(
                axes,
                k[1:] * per_metre,
                field[task, c, 1:],
                {name: values[task, c, 1:] for name, values in made.items()},
                styles,
            )
            if place == 0:
                axes.set_title(tasks[task])
        unit = f"({given[c]})²" if given[c] else ""
        panels[place, 0].set_ylabel(in_brackets(f"mean square of {names[c]}", unit))
        _limit(panels[place], field[:, c, 1:], [values[:, c, 1:] for values in made.values()])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    said = [*notes, *diverged_notes({name: values[None] for name, values in made.items()})]
    if len(rows) < len(names):
        said.append(f"{len(rows)} of {len(names)} components are drawn.")
    along = f" along {axis}" if axis else ""
    finish(figure, title, said, x_label=f"angular wave number k{along} [1/{length}]")
    return settle(figure)


def _draw(
    axes: Axes,
    k: np.ndarray,
    field: np.ndarray,
    errors: Mapping[str, np.ndarray],
    styles: Mapping[str, MethodStyle],
) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.plot(k, field, color="0.75", linewidth=4, label="field", solid_capstyle="round", zorder=1)
    for place, (name, values) in enumerate(errors.items()):
        style = styles[name]
        axes.plot(
            k,
            values,
            color=style.color,
            linestyle=style.linestyle,
            linewidth=1.0,
            marker=style.marker,
            # A few markers a line, spread over the decades, each line's at places of its own.
            markevery=_marked(len(k), place, len(errors)),
            markersize=3.5,
            label=f"error of {style.label}",
        )
    plain_log_numbers(axes.xaxis)
    axes.grid(axis="both", which="major")


def _marked(count: int, place: int, lines: int) -> list[int]:
    """Return some eight places of ``count``, at even distances on a logarithmic axis."""
    shift = (place + 0.5) / lines
    steps = np.log(count) / 8
    places = np.exp((np.arange(8) + shift) * steps) - 1
    return sorted({int(p) for p in places if p < count})


def _limit(panels: Sequence[Axes], field: np.ndarray, errors: Sequence[np.ndarray]) -> None:
    """End the axis of a row below what can be told from rounding, and mark few powers of ten."""
    stack = np.stack([field, *errors])
    known = stack[np.isfinite(stack) & (stack > 0)]
    if not known.size:
        return
    high = float(known.max())
    low = max(float(known.min()), high * 10.0**-_DECADES)
    panels[0].set_ylim(low / 2, high * 3)
    panels[0].yaxis.set_major_locator(LogLocator(numticks=6))
    panels[0].yaxis.set_minor_formatter(NullFormatter())
