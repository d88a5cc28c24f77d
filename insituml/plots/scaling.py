"""How throughput grows with the number of ranks, and what each part would let through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from insituml.plots.notes import finish
from insituml.plots.style import look, plain_log_numbers, settle

_LOOKS = (("#0072B2", "--"), ("#D55E00", ":"), ("#009E73", "-."), ("#CC79A7", (0, (1, 1))))
"""Colours that readers tell apart who see few of them, each with a line style of its own."""


@look()
def scaling_curves(
    ranks: Sequence[int],
    throughput: Sequence[float],
    limits: Mapping[str, Sequence[float]],
    *,
    measured: Mapping[int, float] | None = None,
    rank_label: str = "GPUs",
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Draw throughput and its limits against the number of ranks, both logarithmic.

    Parameters
    ----------
    ranks
        Ascending, 1 or more.
    throughput
        Bytes a second that come about, for each.
    limits
        What a limit is called to what it alone would let through, bytes a second for each number
        of ranks; one that is infinite is not drawn.
    measured
        Bytes a second by number of ranks: points.
    rank_label
        What is counted.
    title
        Above the figure.
    notes
        Sentences below it.

    Raises
    ------
    ValueError
        If there are not as many numbers as ranks, or a throughput is not finite and above 0.
    """
    for name, values in {"throughput": throughput, **limits}.items():
        if len(values) != len(ranks) or not len(ranks):
            raise ValueError(
                f"{name} has {len(values)} numbers for {len(ranks)} numbers of ranks; expected one "
                "for each"
            )
    total = np.asarray(throughput, dtype=float) / 1e9
    if not (np.isfinite(total) & (total > 0)).all():
        raise ValueError("a throughput is not finite and above 0; check the machine's constants")
    figure = Figure(figsize=(5.5, 3.6))
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", ylabel="throughput, GB/s")
    axes.plot(ranks, total, color="black", linewidth=2.5, label="what comes about")
    drawn = [name for name, values in limits.items() if np.isfinite(values).all()]
    for place, name in enumerate(drawn):
        color, style = _LOOKS[place % len(_LOOKS)]
        axes.plot(ranks, np.divide(limits[name], 1e9), color=color, linestyle=style, label=name)
    if measured:
        found = np.divide(list(measured.values()), 1e9)
        points: dict[str, Any] = {
            "marker": "o",
            "color": "#E69F00",
            "markeredgecolor": "black",
            "zorder": 3,
        }
        axes.plot(list(measured), found, linestyle="", label="measured", **points)
    axes.grid(which="major")
    plain_log_numbers(axes.xaxis)
    plain_log_numbers(axes.yaxis)
    axes.legend(loc="upper left")
    finish(figure, title, notes, x_label=rank_label)
    return settle(figure)
