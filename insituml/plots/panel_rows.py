"""Rows of panels, one an original: it, then what the model made of it after each task."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from insituml.plots.notes import note_lines, write_notes
from insituml.plots.style import MAX_WIDTH, SMALL, title_lines

_HEADING = 14  # characters beyond which a row's label stands above the row
_GAP = 0.07  # inches between panels
_LINE = 0.14  # of small text


@dataclass(frozen=True)
class Column:
    """A column of panels.

    Parameters
    ----------
    title
        Above it.
    room
        Inches to leave at its right, for a colour bar.
    task
        Which learned task it shows; None: the original, or an error.
    """

    title: str
    room: float = 0.0
    task: int | None = None


def panel_rows(
    columns: Sequence[Column],
    row_labels: Sequence[str],
    draw: Callable[[Axes, int, int], None],
    *,
    learned_at: Sequence[int] | None,
    title: str,
    panel_ratio: float,
    axis_labels: tuple[str, str] | None = None,
    own_axes: bool = False,
    notes: Sequence[str] = (),
    keys: Mapping[str, Line2D] | None = None,
) -> tuple[Figure, np.ndarray]:
    """Lay out one row an original, with labels and frames; ``draw`` fills the panels.

    The panel right after a row's task was learned is outlined, as the diagonal of a loss matrix.

    Parameters
    ----------
    columns, row_labels
        What stands where. Long labels stand above their rows.
    draw
        Called with the axes, the row and the column of each panel.
    learned_at
        For each row the task, as in :attr:`Column.task`, that it shows; None: there is no order.
    title
        Above the figure.
    panel_ratio
        Height of a panel by its width.
    axis_labels
        Of all panels; None: axes without numbers.
    own_axes
        Whether every row has numbers below it, not the last one alone.
    notes
        Sentences below the figure that say how to read it.
    keys
        Come into the legend.

    Returns
    -------
    tuple
        The figure, and the axes ``(rows, columns)``.
    """
    if learned_at is not None and len(learned_at) != len(row_labels):
        raise ValueError(
            f"learned_at must hold one column for each of {len(row_labels)} rows, "
            f"got {list(learned_at)}"
        )
    # Sizes in inches. A hundred panels would take a layout engine tens of seconds.
    longest = max((len(line) for label in row_labels for line in label.splitlines()), default=0)
    headed = longest > _HEADING
    left = (0.62 if axis_labels else 0.14) + (0.0 if headed else 0.05 + 0.07 * longest)
    rooms = sum(column.room for column in columns)
    inner = MAX_WIDTH - left - 0.12 - rooms
    panel = min(inner / len(columns) - _GAP, 1.6)
    tall = panel * panel_ratio
    width = left + len(columns) * (panel + _GAP) + rooms + 0.12
    heads = [_folded(column.title, panel) for column in columns]
    above = (
        max([head.count("\n") + 1 for head in heads] + [2] * any(c.room for c in columns)) * 0.14
    )
    above += 0.04
    title = title_lines(title, width)
    top = (0.2 * (title.count("\n") + 1) + 0.08 if title else 0.06) + above
    heading = 0.19 if headed else 0.0
    numbers = 0.17 if axis_labels else 0.0
    pitch = heading + tall + _GAP + (numbers if own_axes else 0.0)
    outlined = learned_at is not None and any(
        column.task in learned_at for column in columns if column.task is not None
    )
    said = list(notes)
    if outlined:
        said.append("Outlined: right after the row's task was learned; left of it: not yet seen.")
    lines = note_lines(said, width)
    below = numbers * (not own_axes) + (0.15 if axis_labels else 0.02)
    bottom = below + _LINE * (len(lines) + bool(keys)) + 0.08
    height = top + len(row_labels) * pitch + bottom
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")

    panels = np.empty((len(row_labels), len(columns)), dtype=object)
    for row, label in enumerate(row_labels):
        up = height - top - row * pitch - heading - tall
        right = left
        for place, column in enumerate(columns):
            axes = figure.add_axes(
                (right / width, up / height, panel / width, tall / height),
                label=f"panel {row} {place}",
            )
            panels[row, place] = axes
            draw(axes, row, place)
            last = row == len(row_labels) - 1
            _ticks(axes, axis_labels is not None, own_axes or last, place == 0, panel, tall)
            axes.spines[:].set(visible=True, color="0.5", linewidth=0.6)
            if outlined and learned_at is not None and column.task == learned_at[row]:
                axes.spines[:].set(color="black", linewidth=1.6, zorder=5)
                _edge(axes)
            if row == 0:
                weight = "bold" if column.task is None else "normal"
                figure.text(
                    (right + panel / 2) / width,
                    (up + tall + heading + 0.04) / height,
                    heads[place],
                    ha="center",
                    va="bottom",
                    fontsize=8,
                    fontweight=weight,
                )
            right += panel + _GAP + column.room
        flat = " · ".join(label.splitlines()) if headed else label
        where = (left, up + tall + 0.03) if headed else (left - (0.42 if axis_labels else 0.06), up)
        figure.text(
            where[0] / width,
            (where[1] if headed else up + tall / 2) / height,
            flat,
            ha="left" if headed else "right",
            va="bottom" if headed else "center",
            fontsize=SMALL if headed else 8,
            color="0.15",
        )
    if title:
        figure.suptitle(title, y=1 - 0.06 / height, va="top")
    if axis_labels:
        middle = (left + (width - 0.12)) / 2 / width
        figure.supxlabel(axis_labels[0], x=middle, y=(bottom - below + 0.01) / height, va="bottom")
        centre = (bottom + height - top) / 2 / height
        figure.supylabel(axis_labels[1], x=0.05 / width, y=centre)
    write_notes(figure, lines)
    if keys:
        figure.legend(
            [*keys.values()],
            [*keys],
            loc="lower left",
            bbox_to_anchor=(0.08 / width, (0.02 + _LINE * len(lines)) / height),
            ncols=len(keys),
            fontsize=SMALL,
            handlelength=1.8,
            borderaxespad=0,
            borderpad=0.1,
        )
    return figure, panels


def say_not_finite(axes: Axes, values: np.ndarray) -> None:
    """Write onto a panel how many of its values are NaN or infinite, if any."""
    share = 1 - float(np.isfinite(values).mean()) if values.size else 0.0
    if share > 0:
        text = "not finite" if share == 1 else f"{max(100 * share, 1):.0f} %\nnot finite"
        say_on_panel(axes, text)


def say_on_panel(axes: Axes, text: str) -> None:
    """Write a few words into the lower right corner of a panel."""
    axes.annotate(
        text,
        xy=(1, 0),
        xycoords="axes fraction",
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=SMALL,
        color="0.2",
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1},
    )


def _edge(axes: Axes) -> None:
    """Draw an outline around a panel that stands out on dark images, too."""
    white = patheffects.withStroke(linewidth=3.2, foreground="white")
    axes.add_patch(
        Rectangle(
            (0, 0),
            1,
            1,
            transform=axes.transAxes,
            fill=False,
            edgecolor="black",
            linewidth=1.6,
            clip_on=False,
            zorder=6,
            path_effects=[white],
        )
    )


def _ticks(axes: Axes, any_: bool, below: bool, beside: bool, panel: float, tall: float) -> None:
    axes.tick_params(labelsize=SMALL, length=2, pad=1.5)
    if any_ and below:
        axes.xaxis.set_major_locator(MaxNLocator(3 if panel > 0.7 else 2, prune="upper"))
    else:
        axes.set_xticks([])
    if any_ and beside:
        axes.yaxis.set_major_locator(MaxNLocator(3 if tall > 0.6 else 2))
    else:
        axes.set_yticks([])


def _folded(text: str, inches: float) -> str:
    return "\n".join(textwrap.wrap(text, max(6, int(inches / 0.062)), break_long_words=False))
