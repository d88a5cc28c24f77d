"""How far fields shrink, at which error: curves of compressors and learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from insituml.plots.notes import finish
from insituml.plots.style import MAX_WIDTH, look, plain_log_numbers, settle

# Okabe and Ito's palette, as for methods; the rest take these in their order.
_KNOWN = {
    "SZ3": ("#D55E00", "s"),
    "SZ3 in 4-D": ("#E69F00", "D"),
    "ZFP": ("#CC79A7", "^"),
    "incremental PCA": ("#000000", "x"),
}
_FREE = (("#0072B2", "o"), ("#009E73", "v"), ("#56B4E9", "P"), ("#00573F", "X"))


@dataclass(frozen=True)
class RateCurve:
    """One compressor on one stream.

    Parameters
    ----------
    errors
        Relative L2 errors.
    ratios
        Raw bytes over compressed ones, at each error.
    with_decoder
        The same over the whole stream, the decoder's bytes included; None: it needs none.
    """

    errors: Sequence[float]
    ratios: Sequence[float]
    with_decoder: Sequence[float] | None = None


@look()
def rate_distortion_curves(
    panels: Mapping[str, Mapping[str, RateCurve]],
    *,
    region: tuple[float, float] | None = None,
    title: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """Draw compression ratio against relative L2 error, a panel a stream, both logarithmic.

    Full lines leave the decoder out, broken ones include it: for a longer stream they rise towards
    the full ones.

    Parameters
    ----------
    panels
        What a panel is called to compressor to curve; a compressor looks the same in all.
    region
        Errors between which the background is shaded.
    title
        Above the figure.
    notes
        Sentences below the figure, before its own.

    Raises
    ------
    ValueError
        If there is no curve, one is empty or of different lengths, or a number is not above 0.
    """
    if not panels or not all(panels.values()):
        raise ValueError("panels are empty; give at least one curve for each")
    for panel, curves in panels.items():
        for name, curve in curves.items():
            _check(curve, f"{name} of {panel}")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    free = iter(_FREE * len(names))
    looks = {name: _KNOWN.get(name) or next(free) for name in names}

    figure = Figure(figsize=(MAX_WIDTH, 3.8))
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False).ravel()
    keys: dict[str, Artist] = {}
    for axes, (panel, curves) in zip(every, panels.items(), strict=True):
        axes.set(xscale="log", yscale="log", title=panel)
        if region is not None:
            low, high = (100 * end for end in region)
            axes.axvspan(low, high, color="0.93", linewidth=0, zorder=0)
        for name, curve in curves.items():
            color, marker = looks[name]
            percent = 100 * np.asarray(curve.errors, dtype=float)
            (line,) = axes.plot(percent, curve.ratios, color=color, marker=marker, label=name)
            keys.setdefault(name, line)
            if curve.with_decoder is not None:
                axes.plot(
                    percent,
                    curve.with_decoder,
                    color=color,
                    linestyle="--",
                    linewidth=0.8,
                    zorder=1,
                )
        axes.grid(which="major")
        plain_log_numbers(axes.xaxis)
        plain_log_numbers(axes.yaxis)
    every[0].set_ylabel("raw bytes / compressed bytes")
    said = [*notes]
    if any(
        curve.with_decoder is not None for curves in panels.values() for curve in curves.values()
    ):
        said.append(
            "Full lines: without the decoder. Broken lines: with it, over the stream of the "
            "panel's size; they rise towards the full ones as the stream grows."
        )
    keys = {name: keys[name] for name in names}
    finish(figure, title, said, x_label="relative L2 error of the field, %", keys=keys)
    return settle(figure)


def _check(curve: RateCurve, what: str) -> None:
    lengths = {len(curve.errors), len(curve.ratios)}
    columns = [curve.errors, curve.ratios]
    if curve.with_decoder is not None:
        lengths.add(len(curve.with_decoder))
        columns.append(curve.with_decoder)
    if len(lengths) > 1 or not len(curve.errors):
        raise ValueError(
            f"{what} has {' and '.join(str(len(c)) for c in columns)} numbers; expected as many "
            "ratios as errors, one or more"
        )
    values = np.concatenate([np.asarray(column, dtype=float) for column in columns])
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"{what} has a number that is not finite and above 0; leave such points out"
        )
