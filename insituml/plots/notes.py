"""The sentences below a figure that say how to read it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from insituml.plots.method_style import method_label
from insituml.plots.style import MOST_BANDS, SMALL, title_lines

_LINE = 0.14  # inches
_CHARACTER = 0.057
_KEY = 0.55
_CHARACTER_OF_KEY = 0.064


def finish(
    figure: Figure,
    title: str,
    notes: Sequence[str],
    *,
    x_label: str = "",
    keys: Mapping[str, Artist] | None = None,
) -> None:
    """Put a title above a figure, a label, a legend and notes below it, and leave room for them.

    Parameters
    ----------
    figure
        With a constrained layout, which does not know of what is written here.
    title, notes
        Broken into lines that fit the width.
    x_label
        Of all panels.
    keys
        Of a legend, in as many lines as it needs.
    """
    width, height = map(float, figure.get_size_inches())
    lines = note_lines(notes, width)
    below = 0.05 + _LINE * len(lines) + 0.05 * bool(lines)
    if keys:
        widest = _KEY + _CHARACTER_OF_KEY * max(map(len, keys))
        columns = max(1, min(len(keys), int(width / widest)))
        figure.legend(
            [*keys.values()],
            [*keys],
            loc="lower center",
            bbox_to_anchor=(0.5, below / height),
            ncols=columns,
            handlelength=3,
            borderaxespad=0,
            borderpad=0,
        )
        below += 0.2 * math.ceil(len(keys) / columns)
    if x_label:
        figure.supxlabel(x_label, y=below / height, va="bottom")
        below += 0.17
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, below / height, 1, 1 - below / height))  # type: ignore[call-arg]
    if title:
        figure.suptitle(title_lines(title, width))
    write_notes(figure, lines)


def note_lines(notes: Sequence[str], width: float) -> list[str]:
    """Return the sentences as lines that fit a width in inches."""
    return textwrap.wrap(" ".join(note for note in notes if note), int((width - 0.2) / _CHARACTER))


def write_notes(figure: Figure, lines: Sequence[str]) -> None:
    """Write lines into the lower left corner of a figure."""
    width, height = figure.get_size_inches()
    for number, line in enumerate(reversed(lines)):
        figure.text(
            0.1 / width,
            (0.05 + _LINE * number) / height,
            line,
            fontsize=SMALL,
            color="0.3",
            va="bottom",
        )


def spread_notes(arrays: Mapping[str, np.ndarray], *, many: bool = False) -> list[str]:
    """Say what lines and bands are, and of which methods seeds are missing from them.

    Parameters
    ----------
    arrays
        By method, ``(seeds, ...)``.
    many
        Whether the figure shows any number of bands; of more than a few methods in one panel they
        hide each other.
    """
    counts = {len(array) for array in arrays.values()}
    fewest, most = min(counts), max(counts)
    if most == 1:
        notes = ["One seed: there is no spread to show."]
    else:
        seeds = f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"
        notes = [f"Lines are means over {seeds}"]
        if many or len(arrays) <= MOST_BANDS:
            notes[0] += ", bands ± one standard deviation."
        else:
            notes[0] += "; of so many methods no spread is drawn."
    return [*notes, *diverged_notes(arrays)]


def diverged_notes(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Name methods that have values which are not finite where others, or other seeds, have.

    What no seed of a method has, while its other values are finite, was not measured.
    """
    notes = []
    for name, array in arrays.items():
        flat = array.reshape(len(array), -1)
        finite = np.isfinite(flat)
        if not finite.any():
            notes.append(f"{method_label(name)} has no finite value.")
            continue
        measured = ~np.isnan(flat).all(axis=0)
        bad = int((~finite[:, measured]).any(axis=1).sum())
        if bad:
            seeds = f"in {bad} of {len(array)} seeds" if len(array) > 1 else "in places"
            notes.append(f"{method_label(name)} is not finite {seeds}: left out of its mean.")
    return notes
