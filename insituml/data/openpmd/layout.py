"""How the components of an openPMD mesh lie in space: on a Cartesian grid, or as modes around z."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from insituml.data.openpmd.theta_modes import scalar_to_cartesian, to_cartesian
from insituml.data.step import Grid

Load = Callable[[str], np.ndarray]
"""Reads a stored component by its name in the mesh: slowest axis first, in SI units."""


class Layout(Protocol):
    """What a reader needs to know of a mesh; each refuses meshes that it cannot read."""

    names: tuple[str, ...]
    """Components, by record and axis."""

    def grid(self, mesh: Any, name: str) -> Grid:
        """Return where the points of a component are."""
        ...

    def read(self, mesh: Any, names: Sequence[str], load: Load, out: np.ndarray) -> None:
        """Fill ``out``, ``(components, *grid.shape)``, with the named components."""
        ...


def stored_axes(mesh: Any) -> tuple[list[float], list[float]]:
    """Return spacing and offset of each axis in metres, as the mesh lists them."""
    spacing = [float(d) * mesh.grid_unit_SI for d in mesh.grid_spacing]
    offset = [float(o) * mesh.grid_unit_SI for o in mesh.grid_global_offset]
    return spacing, offset


def stored_shape(mesh: Any, key: str) -> tuple[int, ...]:
    """Return the shape of a component, in the order of the mesh's axis labels.

    In a mesh of order F, the labels are in the order of Fortran's indices, fastest first, and the
    shape in the file is the other way round.
    """
    shape = tuple(int(n) for n in mesh[key].shape)
    return shape[::-1] if mesh.data_order == "F" else shape


class CartesianLayout:
    """Components on a grid of points, as they are stored.

    Parameters
    ----------
    mesh
        Of an opened iteration.
    record
        Its name.
    labels
        Of its axes.
    scalar
        How openPMD-api calls a scalar mesh's only component.
    """

    def __init__(self, mesh: Any, record: str, labels: tuple[str, ...], scalar: str) -> None:
        keys = {record: scalar} if mesh.scalar else {f"{record}{axis}": axis for axis in mesh}
        self.names = tuple(keys)
        self._keys = keys
        self._record = record
        self._labels = labels

    def grid(self, mesh: Any, name: str) -> Grid:
        shape = stored_shape(mesh, self._keys[name])
        spacing, offset = stored_axes(mesh)
        labels, position = self._labels, mesh[self._keys[name]].position
        if not len(shape) == len(spacing) == len(offset) == len(labels) == len(position):
            raise ValueError(
                f"record {self._record!r} has {len(shape)} axes, but its gridSpacing has "
                f"{len(spacing)} numbers, its gridGlobalOffset {len(offset)}, its axisLabels "
                f"{len(labels)}, its position {len(position)}; its writer must set one an axis"
            )
        inside = zip(offset, position, spacing, strict=True)
        return Grid(
            shape=shape,
            spacing=tuple(spacing),
            origin=tuple(start + share * width for start, share, width in inside),
            axis_labels=labels,
        )

    def read(self, mesh: Any, names: Sequence[str], load: Load, out: np.ndarray) -> None:
        for target, name in zip(out, names, strict=True):
            target[...] = load(self._keys[name])


class ThetaLayout:
    """Azimuthal modes (geometry thetaMode), put onto a Cartesian grid around the axis z.

    Parameters
    ----------
    mesh
        Of an opened iteration: stored components are ``(2 * modes - 1, nr, nz)``, or with r and z
        exchanged where the labels are; r, t and z of a vector, or one scalar.
    record
        Its name.
    labels
        Of its axes.
    scalar
        How openPMD-api calls a scalar mesh's only component.
    points
        Along x and along y, from the outermost radius to the one opposite; None: as dense as r.

    Raises
    ------
    ValueError
        If the mesh has other components or axes, or components at different radii.
    """

    def __init__(
        self, mesh: Any, record: str, labels: tuple[str, ...], scalar: str, points: int | None
    ) -> None:
        self._keys: tuple[str, ...] = (scalar,) if mesh.scalar else ("r", "t", "z")
        if not set(self._keys) <= set(mesh):
            raise ValueError(
                f"record {record!r} in thetaMode has components {', '.join(mesh)}; expected r, t, z"
            )
        self.names = (record,) if mesh.scalar else tuple(f"{record}{axis}" for axis in "xyz")
        self._labels = labels
        if set(self._labels) != {"r", "z"} or len(self._labels) != 2:
            raise ValueError(
                f"record {record!r} in thetaMode has axes {self._labels}; expected r, z"
            )
        at_r = self._labels.index("r")
        if len({mesh[key].position[at_r] for key in self._keys}) > 1:
            raise ValueError(
                f"components of record {record!r} are staggered along r, which cannot be combined; "
                "write them at the same radii"
            )
        shape = self._shape(mesh)
        spacing, offset = stored_axes(mesh)
        first = offset[at_r] + mesh[self._keys[0]].position[at_r] * spacing[at_r]
        self._r = first + spacing[at_r] * np.arange(shape["r"])
        points = 2 * shape["r"] if points is None else points
        if points < 2:
            raise ValueError(f"cartesian_points is {points}; expected two or more")
        self._x = np.linspace(-self._r[-1], self._r[-1], points)

    def grid(self, mesh: Any, name: str) -> Grid:
        key = self._keys[0] if len(self._keys) == 1 or name[-1] in "xy" else "z"
        at_z = self._labels.index("z")
        spacing, offset = stored_axes(mesh)
        dx = float(self._x[1] - self._x[0])
        z = offset[at_z] + mesh[key].position[at_z] * spacing[at_z]
        return Grid(
            shape=(self._x.size, self._x.size, self._shape(mesh)["z"]),
            spacing=(dx, dx, spacing[at_z]),
            origin=(float(self._x[0]), float(self._x[0]), z),
            axis_labels=("x", "y", "z"),
        )

    def read(self, mesh: Any, names: Sequence[str], load: Load, out: np.ndarray) -> None:
        def modes(key: str) -> np.ndarray:
            values = load(key)
            return values if self._labels == ("r", "z") else values.swapaxes(1, 2)

        if len(names) == 1 and (len(self._keys) == 1 or names[0] == self.names[2]):
            out[0] = scalar_to_cartesian(modes(self._keys[-1]), self._r, self._x, self._x)
        else:
            radial, azimuthal, along = (modes(key) for key in self._keys)
            field = to_cartesian(radial, azimuthal, along, self._r, self._x, self._x)
            for target, name in zip(out, names, strict=True):
                target[...] = field[self.names.index(name)]

    def _shape(self, mesh: Any) -> dict[str, int]:
        return dict(zip(self._labels, stored_shape(mesh, self._keys[0])[1:], strict=True))
