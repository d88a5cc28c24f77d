"""Where the components of an openPMD record lie in space: on a grid, or as modes around z."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from insituml.data.openpmd.records import Record
from insituml.data.openpmd.theta_modes import scalar_to_cartesian, to_cartesian
from insituml.data.step import Grid

Load = Callable[[Record, str], np.ndarray]
"""Reads a stored component of a record by its axis: slowest axis first, in SI units."""

ROUNDING = 1e-6
"""Part of a cell by which rounding may put the innermost radius beyond the axis."""


class Layout(Protocol):
    """What a reader needs to know of a record; each refuses records that it cannot read."""

    names: tuple[str, ...]
    """Components, by record and axis."""
    lacks: str
    """What is stored but cannot be used without another component, in words; empty: nothing."""

    def grid(self, record: Record, name: str) -> Grid:
        """Return where the points of a component are."""
        ...

    def read(self, record: Record, names: Sequence[str], load: Load, out: np.ndarray) -> None:
        """Fill ``out``, ``(components, *grid.shape)``, with the named components."""
        ...


def stored_axes(mesh: Any) -> tuple[list[float], list[float]]:
    """Return spacing and offset of each axis in metres, as the mesh lists them.

    openPMD 2.0 has one ``gridUnitSI`` an axis, 1.1 one for all.
    """
    stored = [float(d) for d in mesh.grid_spacing]
    unit = mesh.grid_unit_SI
    units = [float(u) for u in unit] if isinstance(unit, Sequence) else [float(unit)] * len(stored)
    if len(units) != len(stored):
        raise ValueError(
            f"its gridSpacing has {len(stored)} numbers, its gridUnitSI {len(units)}; its writer "
            "must set one an axis"
        )
    spacing = [d * u for d, u in zip(stored, units, strict=True)]
    # Of another length it is refused where the axes are counted.
    offset = [float(o) * u for o, u in zip(mesh.grid_global_offset, units, strict=False)]
    if len(mesh.grid_global_offset) > len(units):
        raise ValueError(
            f"its gridSpacing has {len(stored)} numbers, its gridGlobalOffset "
            f"{len(mesh.grid_global_offset)}; its writer must set one an axis"
        )
    if not all(math.isfinite(d) and d > 0 for d in spacing):
        raise ValueError(f"its points are {tuple(spacing)} m apart; expected more than 0")
    if not all(math.isfinite(o) for o in offset):
        raise ValueError(f"its gridGlobalOffset is {tuple(offset)} m; expected finite numbers")
    return spacing, offset


def stored_shape(mesh: Any, component: Any) -> tuple[int, ...]:
    """Return the shape of a component, in the order of the mesh's axis labels.

    In a mesh of order F, the labels are in the order of Fortran's indices, fastest first, and the
    shape in the file is the other way round.
    """
    shape = tuple(int(n) for n in component.shape)
    return shape[::-1] if mesh.data_order == "F" else shape


class CartesianLayout:
    """Components on a grid of points, as they are stored.

    Parameters
    ----------
    record
        Of an opened iteration.
    labels
        Of its axes.
    """

    def __init__(self, record: Record, labels: tuple[str, ...]) -> None:
        self._axes = {f"{record.name}{axis}": axis for axis in record.meshes}
        self.names = tuple(self._axes)
        self.lacks = ""
        self._labels = labels

    def grid(self, record: Record, name: str) -> Grid:
        axis = self._axes[name]
        mesh, component = record.meshes[axis], record.component(axis)
        shape = stored_shape(mesh, component)
        spacing, offset = stored_axes(mesh)
        labels, position = self._labels, component.position
        if 0 in shape:
            raise ValueError(f"its component {name} is empty: its shape is {shape}")
        if not len(shape) == len(spacing) == len(offset) == len(labels) == len(position):
            raise ValueError(
                f"it has {len(shape)} axes, but its gridSpacing has {len(spacing)} numbers, its "
                f"gridGlobalOffset {len(offset)}, its axisLabels {len(labels)}, its position "
                f"{len(position)}; its writer must set one an axis"
            )
        inside = zip(offset, position, spacing, strict=True)
        return Grid(
            shape=shape,
            spacing=tuple(spacing),
            origin=tuple(start + float(share) * width for start, share, width in inside),
            axis_labels=labels,
        )

    def read(self, record: Record, names: Sequence[str], load: Load, out: np.ndarray) -> None:
        for target, name in zip(out, names, strict=True):
            target[...] = load(record, self._axes[name])


class ThetaLayout:
    """Azimuthal modes (geometry thetaMode), put onto a Cartesian grid around the axis z.

    Parameters
    ----------
    record
        Of an opened iteration: stored components are ``(2 * modes - 1, nr, nz)``, or with r and z
        exchanged where the labels are; r, t and z of a vector, or one scalar. Along x and y a
        vector needs r and t, along z only z.
    labels
        Of its axes.
    points
        Along x and along y, from the outermost radius to the one opposite; None: as dense as r.

    Raises
    ------
    ValueError
        If the mesh has other components or axes, components at different radii, an even number of
        modes, or radii below 0.
    """

    def __init__(self, record: Record, labels: tuple[str, ...], points: int | None) -> None:
        self._record = record.name
        self._labels = labels
        self.names, self.lacks = self._readable(record)
        if set(labels) != {"r", "z"} or len(labels) != 2:
            raise ValueError(f"it is in thetaMode and has axes {labels}; expected r, z")
        at_r = labels.index("r")
        at = {axis: record.component(axis).position for axis in record.meshes}
        if wrong := [axis for axis, position in at.items() if len(position) != 2]:
            raise ValueError(
                f"the position of its component {wrong[0]!r} has {len(at[wrong[0]])} numbers; "
                "expected two, one along r and one along z"
            )
        if len({position[at_r] for position in at.values()}) > 1:
            raise ValueError(
                "its components are staggered along r, which cannot be combined; write them at the "
                "same radii, or read z alone"
            )
        shape = self._shape(record, next(iter(record.meshes)))
        spacing, offset = stored_axes(record.mesh)
        if not len(spacing) == len(offset) == 2:
            raise ValueError(
                f"its gridSpacing has {len(spacing)} numbers, its gridGlobalOffset {len(offset)}; "
                "expected two, one along r and one along z"
            )
        first = offset[at_r] + float(next(iter(at.values()))[at_r]) * spacing[at_r]
        if abs(first) < ROUNDING * spacing[at_r]:
            first = 0.0
        self._r = first + spacing[at_r] * np.arange(shape["r"])
        if self._r[0] < 0 or self._r.size < 2:
            raise ValueError(
                f"its {self._r.size} radii begin at {first:g} m; expected two or more from 0 or "
                "above, without guard cells beyond the axis"
            )
        points = 2 * shape["r"] if points is None else points
        if points < 2:
            raise ValueError(f"cartesian_points is {points}; expected two or more")
        self._x = np.linspace(-self._r[-1], self._r[-1], points)
        # geometryParameters "m=2;imag=-" turns the sine terms around.
        turned = "imag=-" in _parameters(record.mesh)
        self._sine = -1.0 if turned else 1.0

    def grid(self, record: Record, name: str) -> Grid:
        axis = "r" if name[-1] in "xy" and not record.is_scalar else self._along(record)
        at_z = self._labels.index("z")
        spacing, offset = stored_axes(record.mesh)
        dx = float(self._x[1] - self._x[0])
        z = offset[at_z] + float(record.component(axis).position[at_z]) * spacing[at_z]
        return Grid(
            shape=(self._x.size, self._x.size, self._shape(record, axis)["z"]),
            spacing=(dx, dx, spacing[at_z]),
            origin=(float(self._x[0]), float(self._x[0]), z),
            axis_labels=("x", "y", "z"),
        )

    def read(self, record: Record, names: Sequence[str], load: Load, out: np.ndarray) -> None:
        def modes(axis: str) -> np.ndarray:
            self._shape(record, axis)
            values = load(record, axis)
            values = values if self._labels == ("r", "z") else values.swapaxes(1, 2)
            if self._sine < 0:
                values[2::2] *= -1
            return values

        along = self._along(record)
        if record.is_scalar or list(names) == [f"{self._record}z"]:
            out[0] = scalar_to_cartesian(modes(along), self._r, self._x, self._x)
            return
        radial, azimuthal = modes("r"), modes("t")
        longitudinal = modes("z") if f"{self._record}z" in names else np.zeros_like(radial)
        field = to_cartesian(radial, azimuthal, longitudinal, self._r, self._x, self._x)
        for target, name in zip(out, names, strict=True):
            target[...] = field["xyz".index(name[-1])]

    def _readable(self, record: Record) -> tuple[tuple[str, ...], str]:
        """Return the Cartesian components that the stored ones give, and what they do not."""
        if record.is_scalar:
            return (self._record,), ""
        there = set(record.meshes)
        across = [f"{self._record}{axis}" for axis in "xy"] if {"r", "t"} <= there else []
        along = [f"{self._record}z"] if "z" in there else []
        unused = there - {"z"} - ({"r", "t"} if across else set())
        lacks = (
            f"it is in thetaMode and has components {', '.join(record.meshes)}; expected r, t, z, "
            f"as x and y need both r and t{f': read {along[0]} alone' if along else ''}"
        )
        if not across and not along:
            raise ValueError(lacks)
        return (*across, *along), lacks if unused else ""

    @staticmethod
    def _along(record: Record) -> str:
        return "" if record.is_scalar else "z"

    def _shape(self, record: Record, axis: str) -> dict[str, int]:
        shape = stored_shape(record.meshes[axis], record.component(axis))
        if len(shape) != 3 or shape[0] % 2 == 0:
            raise ValueError(
                f"it is in thetaMode and of shape {shape}; expected (2 * modes - 1, "
                f"{', '.join(f'n{label}' for label in self._labels)})"
            )
        return dict(zip(self._labels, shape[1:], strict=True))


def _parameters(mesh: Any) -> str:
    return str(mesh.geometry_parameters) if "geometryParameters" in mesh.attributes else ""
