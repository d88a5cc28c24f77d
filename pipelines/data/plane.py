"""Which plane of a field its figures show, of which iteration, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from insituml.data.constants import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest


def plane_of(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the axes of a field's figure: upward, to the right, and the one it is cut across.

    The longest axis, along which the laser or the beam propagates, lies to the right.
    """
    right = max(range(3), key=lambda axis: (shape[axis], axis == 1))
    up, cut = (axis for axis in range(3) if axis != right)
    return up, right, cut


def shown_iteration(manifest: Manifest, task: int) -> int:
    """Return the iteration that figures show of a task: the middle one of those held out."""
    kept = [number for number in manifest.tasks[task].held_out if number in manifest.times]
    return kept[len(kept) // 2]


@dataclass(frozen=True)
class PlaneView:
    """Where the planes of a figure lie, one a task, and what its axes and rows are called.

    Where the window moves, the horizontal axis is the co-moving coordinate ξ = z − ct: what stays
    in place in the window stays in place in the figure. Else it is the laboratory coordinate.

    Parameters
    ----------
    extents
        ``(K, 4)``: left, right, bottom and top in µm, at the edges of the outermost cells; None
        where the data do not say how far their points lie apart.
    axis_labels
        Of the horizontal and the vertical axis.
    rows
        Which iteration each row shows, and its time.
    place
        Of the plane along the axis across it, such as ``"plane z = 0.75 µm"``.
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
            f"iteration {n}, {_femtoseconds(manifest.times[n])}" if timed else f"iteration {n}"
            for n in iterations
        )
        horizontal, vertical, across = (grid.axis_labels[axis] for axis in (right, up, cut))
        if set(grid.spacing) == {1.0}:  # no metres: how sources say that positions are unknown
            place = f"plane {across} = point {grid.shape[cut] // 2}"
            return cls(None, (horizontal, vertical), rows, place)

        origins = np.array([manifest.origin(n) for n in iterations])
        spacing = np.array(grid.spacing)
        at = 1e6 * (origins[:, cut] + grid.shape[cut] // 2 * spacing[cut])
        first = origins - spacing / 2
        if timed and (direction := _window_direction(manifest, right)):
            times = np.array([manifest.times[n] for n in iterations])
            first[:, right] -= direction * SPEED_OF_LIGHT * times
            horizontal = f"ξ = {horizontal} {'−' if direction > 0 else '+'} ct"
        last = first + spacing * grid.shape
        edges = (first[:, right], last[:, right], first[:, up], last[:, up])
        place = f"plane {across} = {_range(at)} µm"
        return cls(1e6 * np.stack(edges, axis=1), (horizontal, vertical), rows, place)


def _is_timed(manifest: Manifest) -> bool:
    """Return whether times are seconds; sources that know none count iterations."""
    return any(time != number for number, time in manifest.times.items())


def _window_direction(manifest: Manifest, axis: int) -> int:
    """Return 1 or −1 where the window moves along an axis or against it, 0 where it is fixed."""
    assert manifest.grid is not None
    places = [manifest.origin(number)[axis] for number in sorted(manifest.times)]
    moved = places[-1] - places[0]
    return 0 if abs(moved) < manifest.grid.spacing[axis] else int(np.sign(moved))


def _femtoseconds(seconds: float) -> str:
    time = 1e15 * seconds
    return f"{time:.0f} fs" if time >= 100 else f"{time:.3g} fs"


def _range(values: np.ndarray) -> str:
    """Name one value, or the first and the last of several."""
    low, high = (f"{round(float(value), 3) + 0.0:.3g}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"
