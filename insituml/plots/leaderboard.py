"""All methods in one view: how good, how forgetful, at what cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator

from insituml.plots.method_style import MethodStyle, method_label, method_styles
from insituml.plots.style import MAX_WIDTH, compact, human_bytes, look, settle

_NUMBERS = (
    "final_average_error",
    "final_average_error_std",
    "forgetting",
    "forgetting_std",
    "gap_closed",
    "gap_closed_std",
    "seconds_per_step",
    "memory_bytes",
)
_REFERENCES = ("naive", "joint")
_OUT_OF_COMPETITION = (*_REFERENCES, "cumulative")


@look()
def leaderboard_figure(
    rows: Sequence[Mapping[str, Any]],
    *,
    metric_label: str = "error",
    title: str = "",
    log: bool = False,
) -> Figure:
    """Draw methods from best to worst: final error, forgetting, gap closed, time and memory.

    Error bars are one standard deviation over seeds. Vertical lines mark the two references,
    naive (fine-tuning without a remedy) and joint (all tasks at once).

    Parameters
    ----------
    rows
        One mapping a method with ``method``, ``final_average_error``, ``forgetting`` and
        ``gap_closed``, each of the three also with ``_std``, ``seconds_per_step`` and
        ``memory_bytes``. Unknown values are None or NaN; further keys are passed over.
    metric_label
        What the errors are, with their unit.
    title
        Above the figure.
    log
        Logarithmic axis of the final error.

    Raises
    ------
    ValueError
        If there is no row, a key is missing or a method comes twice.
    """
    board = _ranked(rows)
    styles = [method_styles(row["method"] for row in board)[row["method"]] for row in board]
    levels = np.arange(len(board))

    figure = Figure(figsize=(MAX_WIDTH, 0.34 * len(board) + 1.9))
    panels = figure.subplots(1, 5, sharey=True, width_ratios=[1.5, 1.2, 1.2, 0.9, 0.9])
    error, forgetting, gap, seconds, memory = panels
    if log:
        error.set_xscale("log")
    _points(error, board, styles, "final_average_error")
    _points(forgetting, board, styles, "forgetting")
    _points(gap, board, styles, "gap_closed")
    _bars(seconds, board, styles, "seconds_per_step", lambda value: compact(1000 * value))
    _bars(memory, board, styles, "memory_bytes", human_bytes)

    shown = {}
    for row, style in zip(board, styles, strict=True):
        if row["method"] in _REFERENCES and not math.isnan(row["final_average_error"]):
            _reference_line(error, row["final_average_error"], style)
            shown[row["method"]] = style
    for method, value in (("naive", 0.0), ("joint", 1.0)):
        shown[method] = method_styles([method])[method]
        _reference_line(gap, value, shown[method])
    forgetting.axvline(0, color="0.3", linewidth=0.8, zorder=0)
    gap_low, gap_high = gap.get_xlim()
    gap.set_xlim(min(gap_low, -0.08), max(gap_high, 1.08))

    error.set_yticks(levels, [style.label for style in styles])
    error.set_ylim(len(board) - 0.5, -0.5)  # best on top
    error.set(title="final average error", xlabel=metric_label)
    forgetting.set(title="forgetting", xlabel=metric_label)
    gap.set(title="gap closed", xlabel="0 = naive, 1 = joint")
    seconds.set(title="time per step", xlabel="ms")
    memory.set(title="memory")
    for axes in panels:
        axes.title.set_fontweight("bold")
        axes.tick_params(axis="y", length=0)
        for level in levels[::2]:
            axes.axhspan(level - 0.5, level + 0.5, color="0.965", linewidth=0, zorder=-1)
    for axes in (seconds, memory):
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    forgetting.xaxis.set_major_locator(MaxNLocator(3))
    close = gap.get_xlim()[1] - gap.get_xlim()[0] < 3
    gap.xaxis.set_major_locator(MultipleLocator(0.5) if close else MaxNLocator(4))
    if log:
        low, high = error.get_xlim()
        close = high < 30 * low
        error.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if close else (1,), numticks=6))
        error.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value, 1)))
        error.xaxis.set_minor_locator(NullLocator())
    else:
        error.xaxis.set_major_locator(MaxNLocator(5, prune="upper"))
    if title:
        figure.suptitle(title)
    meanings = {"naive": "naive: no remedy", "joint": "joint: all tasks at once"}
    figure.legend(
        [
            Line2D([], [], color=shown[name].color, linestyle=shown[name].linestyle)
            for name in _REFERENCES
        ],
        [meanings[name] for name in _REFERENCES],
        loc="outside lower center",
        ncols=2,
        handlelength=3,
    )
    return settle(figure)


def leaderboard_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the leaderboard as a Markdown table, mean ± standard deviation, best on top.

    The best method of each column is bold; naive, and joint and cumulative, which keep
    all data, do not compete.

    Parameters
    ----------
    rows
        As for :func:`leaderboard_figure`.

    Raises
    ------
    ValueError
        If there is no row, a key is missing or a method comes twice.
    """
    board = _ranked(rows)
    columns: list[_Column] = [
        _mean_std_column(board, "final average error", "final_average_error", min),
        _mean_std_column(board, "forgetting", "forgetting", min),
        _mean_std_column(board, "gap closed", "gap_closed", max),
        _Column("ms per step", "seconds_per_step", _milliseconds, min),
        _Column("memory", "memory_bytes", lambda row: human_bytes(row["memory_bytes"]), min),
    ]
    lines = [
        "| method | " + " | ".join(column.title for column in columns) + " |",
        "|:---|" + "---:|" * len(columns),
    ]
    competing = [row for row in board if row["method"] not in _OUT_OF_COMPETITION]
    best = {
        column.key: column.best(values)
        for column in columns
        if (values := [row[column.key] for row in competing if not math.isnan(row[column.key])])
    }
    for row in board:
        cells = [method_label(row["method"])]
        for column in columns:
            text = column.write(row)
            wins = row in competing and row[column.key] == best.get(column.key)
            cells.append(f"**{text}**" if wins else text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _ranked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return complete rows with NaN for None, lowest final error first, unknown ones last."""
    if not rows:
        raise ValueError("rows is empty; give at least one method")
    board: list[dict[str, Any]] = []
    for row in rows:
        missing = [key for key in ("method", *_NUMBERS) if key not in row]
        if missing:
            raise ValueError(
                f"row {row.get('method', len(board))!r} lacks {', '.join(missing)}; "
                f"put None where a value is unknown. It has {', '.join(map(str, row))}"
            )
        if row["method"] in [other["method"] for other in board]:
            raise ValueError(f"method {row['method']!r} comes twice; give one row a method")
        numbers = {key: math.nan if row[key] is None else float(row[key]) for key in _NUMBERS}
        board.append({"method": str(row["method"]), **numbers})

    def rank(row: dict[str, Any]) -> tuple[bool, float, str]:
        error = row["final_average_error"]
        return math.isnan(error), 0.0 if math.isnan(error) else error, row["method"]

    return sorted(board, key=rank)


@dataclass(frozen=True)
class _Column:
    """One column of the table: its head, what it shows, how, and which value is best."""

    title: str
    key: str
    write: Callable[[Mapping[str, Any]], str]
    best: Callable[[Sequence[float]], float]


def _mean_std_column(
    board: Sequence[Mapping[str, Any]],
    title: str,
    key: str,
    best: Callable[[Sequence[float]], float],
) -> _Column:
    """Write ``mean ± std``, all with as many decimals as give the median three digits.

    Where the median is very small or large, a power of ten moves to the head of the column.
    """
    sizes = [abs(row[key]) for row in board if math.isfinite(row[key]) and row[key] != 0]
    power = math.floor(math.log10(float(np.median(sizes)))) if sizes else 0
    factor = 0 if -4 < power < 5 else power
    decimals = max(2 - (power - factor), 0)

    def write(row: Mapping[str, Any]) -> str:
        mean, std = (row[name] / 10.0**factor for name in (key, f"{key}_std"))
        if math.isnan(mean):
            return "–"
        number = f"{mean:.{decimals}f}"
        if float(number) == 0:
            number = number.removeprefix("-")  # rounding noise below zero is zero
        return number if math.isnan(std) else f"{number} ± {std:.{decimals}f}"

    return _Column(f"{title} (1e{factor})" if factor else title, key, write, best)


def _milliseconds(row: Mapping[str, Any]) -> str:
    return compact(1000 * row["seconds_per_step"])


def _points(
    axes: Axes, board: Sequence[Mapping[str, Any]], styles: Sequence[MethodStyle], key: str
) -> None:
    for level, (row, style) in enumerate(zip(board, styles, strict=True)):
        value, std = row[key], row[f"{key}_std"]
        if math.isnan(value):
            _missing(axes, level)
            continue
        axes.errorbar(
            value,
            level,
            xerr=None if math.isnan(std) else std,
            color=style.color,
            marker=style.marker,
            markersize=7,
            capsize=3,
            linestyle="none",
        )
    axes.grid(axis="x")
    axes.margins(x=0.08)


def _bars(
    axes: Axes,
    board: Sequence[Mapping[str, Any]],
    styles: Sequence[MethodStyle],
    key: str,
    write: Callable[[float], str],
) -> None:
    longest = max((row[key] for row in board if not math.isnan(row[key])), default=0.0) or 1.0
    for level, (row, style) in enumerate(zip(board, styles, strict=True)):
        if math.isnan(row[key]):
            _missing(axes, level)
            continue
        axes.barh(level, row[key], height=0.55, color=style.color, alpha=0.85)
        axes.annotate(
            write(row[key]),
            xy=(row[key], level),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xlim(0, 1.75 * longest)  # room for the numbers


def _missing(axes: Axes, level: int) -> None:
    axes.annotate(
        "–", xy=(0.03, level), xycoords=("axes fraction", "data"), va="center", color="0.4"
    )


def _reference_line(axes: Axes, value: float, style: MethodStyle) -> None:
    axes.axvline(value, color=style.color, linestyle=style.linestyle, linewidth=1.3, zorder=0.5)
