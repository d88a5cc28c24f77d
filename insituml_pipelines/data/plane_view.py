"""Where the planes of a field's figure lie, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np

from insituml.data.constants import SPEED_OF_LIGHT
from insituml.plots import quantity
from insituml_pipelines.data.plane import plane_of, shown_iteration

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest


@dataclass(frozen=True)
class PlaneView:
    """Where the planes of a figure lie, one a task, and what its axes and rows are called.

    Where the window moves, the horizontal axis is the co-moving coordinate ξ = z − ct: what stays
    in place in the window stays in place in the figure. Else it is the laboratory coordinate.

    Parameters
    ----------
    extents
        ``(K, 4)``: left, right, bottom and top in metres, at the edges of the outermost cells;
        ``(K, 2)`` of a line; None where the data do not say how far their points lie apart.
    axis_labels
        Of the horizontal and the vertical axis; the latter is empty of a line.
    rows
        Which held-out iteration each row shows, and its time.
    place
        Of the plane along the axis across it, such as ``"plane z = 0.75 µm"``; empty where the
        field is not cut.
    """

    extents: np.ndarray | None
    axis_labels: tuple[str, str]
    rows: tuple[str, ...]
    place: str

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return that of a stream of fields."""
        grid = manifest.grid
        assert grid is not None
        up, right, cut = plane_of(grid.shape)
        iterations = [shown_iteration(manifest, k) for k in range(len(manifest.tasks))]
        timed = _is_timed(manifest)
        rows = tuple(
            f"held-out iteration {n}" + (f", t = {quantity(time, unit='s')}" if timed else "")
            for n, time in ((n, manifest.times[n]) for n in iterations)
        )
        horizontal, vertical = (
            grid.axis_labels[axis] if axis is not None else "" for axis in (right, up)
        )
        across = "" if cut is None else grid.axis_labels[cut]
        if set(grid.spacing) == {1.0}:  # no metres: how sources say that positions are unknown
            place = "" if cut is None else f"plane {across} = point {grid.shape[cut] // 2}"
            return cls(None, (horizontal, vertical), rows, place)

        origins = np.array([manifest.origin(n) for n in iterations])
        spacing = np.array(grid.spacing)
        place = ""
        if cut is not None:
            at = origins[:, cut] + grid.shape[cut] // 2 * spacing[cut]
            place = f"plane {across} = {_lengths(at, spacing[cut])}"
        first = origins - spacing / 2
        if timed and (direction := _window_direction(manifest, right)):
            times = np.array([manifest.times[n] for n in iterations])
            first[:, right] -= direction * SPEED_OF_LIGHT * times
            horizontal = f"ξ = {horizontal} {'−' if direction > 0 else '+'} ct"
        last = first + spacing * grid.shape
        shown = [right] if up is None else [right, up]
        edges = [end[:, axis] for axis in shown for end in (first, last)]
        return cls(np.stack(edges, axis=1), (horizontal, vertical), rows, place)


def _is_timed(manifest: Manifest) -> bool:
    """Return whether times are seconds: sources that know none count iterations, or say 0.

    Times that do not ascend with the iterations say nothing of where light is either.
    """
    times = [time for _, time in sorted(manifest.times.items())]
    ascending = all(before < after for before, after in pairwise(times))
    return ascending and any(time != number for number, time in manifest.times.items())


def _window_direction(manifest: Manifest, axis: int) -> int:
    """Return 1 or −1 where the window moves along an axis or against it, 0 where it is fixed."""
    assert manifest.grid is not None
    places = [manifest.origin(number)[axis] for number in sorted(manifest.times)]
    moved = places[-1] - places[0]
    return 0 if abs(moved) < manifest.grid.spacing[axis] else int(np.sign(moved))


def _lengths(values: np.ndarray, spacing: float) -> str:
    """Name one position, or the first and the last of several, in the unit that fits."""
    # Rounding errors of a position 0 are no picometres.
    largest = max(float(np.abs(values).max()), spacing)
    low, high = (round(float(v) / largest, 6) * largest for v in (values.min(), values.max()))
    return quantity(low, high, unit="m", largest=largest)
