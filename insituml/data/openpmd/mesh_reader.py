"""Read records of an openPMD iteration, from whatever the iteration comes: a file or a stream.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openpmd_api as io

from insituml.data.blocks import Block
from insituml.data.openpmd.layout import CartesianLayout, Layout, ThetaLayout
from insituml.data.openpmd.records import NotInIterationError, Record, find_record
from insituml.data.openpmd.stored_values import COMPLEX_PARTS, Loader, check_dtype
from insituml.data.openpmd.units import unit_name
from insituml.data.step import Grid, Step, joint_unit

SAME = 1e-5
"""Part of a cell, or of its width, by which rounding may change a grid between iterations."""


@dataclass(frozen=True)
class _Look:
    """What an iteration says of the chosen components, before anything is read."""

    parts: list[tuple[Record, Layout, list[str]]]
    names: tuple[str, ...]
    available: tuple[str, ...]
    units: tuple[str, ...]
    grids: list[Grid]

    @property
    def stagger(self) -> list[tuple[float, ...]]:
        """Where each component's points are beside the first one's, in cells."""
        first = self.grids[0]
        return [
            tuple(
                (there - here) / width
                for there, here, width in zip(grid.origin, first.origin, first.spacing, strict=True)
            )
            for grid in self.grids
        ]


class MeshReader:
    """Records in SI units, as the first iteration has them; others must be like it.

    Parameters
    ----------
    iteration, number
        The first iteration, and its number.
    record, component, cartesian_points
        As :class:`insituml.data.openpmd.series.OpenPMDSeries` takes them.
    where
        What the iterations come from, named in errors.
    axis_labels
        Instead of the mesh's own, where a stream has lost them; None: its own.
    complex
        What is read of complex numbers, as :class:`insituml.data.openpmd.series.OpenPMDSeries`
        takes it.

    Attributes
    ----------
    components, unit, units, grid, origins
        As :class:`insituml.data.openpmd.series.OpenPMDSeries` has them.

    Raises
    ------
    KeyError
        If the iteration has no such record, or the record no such component.
    ValueError
        If its geometry is neither Cartesian nor thetaMode, it contradicts itself, its numbers are
        none or complex without a choice, or its axes have lost their labels.
    """

    def __init__(
        self,
        iteration: Any,
        number: int,
        record: str | Sequence[str],
        component: str | None,
        cartesian_points: int | None,
        where: str,
        axis_labels: Sequence[str] | None = None,
        complex: str | None = None,
    ) -> None:
        if complex is not None and complex not in COMPLEX_PARTS:
            raise ValueError(f"complex is {complex!r}; expected one of {', '.join(COMPLEX_PARTS)}")
        self.records = (record,) if isinstance(record, str) else tuple(record)
        self.component = component
        self.points = cartesian_points
        self.where = where
        self.labels = axis_labels
        self.part = complex
        self._number = number
        self._first = look = self._look(iteration, number, where)
        self.components = look.names
        self.units = look.units
        self.unit = joint_unit(self.units)
        self.grid = look.grids[0]
        for name, grid in zip(look.names, look.grids, strict=True):
            self._check_shape(name, grid, number, where)
        self.origins = tuple(grid.origin for grid in look.grids)

    def check(self, iteration: Any, number: int, where: str | None = None) -> None:
        """Refuse an iteration that is not like the first one; nothing is read.

        Raises
        ------
        KeyError
            If it has no such record or component.
        ValueError
            If it deviates, with what deviates.
        """
        self._checked(iteration, number, where or self.where)

    @property
    def divisible(self) -> bool:
        """Whether a block can be read alone: modes around an axis are read whole."""
        return all(isinstance(layout, CartesianLayout) for _, layout, _ in self._first.parts)

    def read(
        self,
        series: Any,
        iteration: Any,
        number: int,
        where: str | None = None,
        block: Block | None = None,
    ) -> Step:
        """Read one iteration, or a block of it, and close it; NaN stands where nothing was written.

        Raises
        ------
        KeyError, ValueError
            As :meth:`check` does; nothing has been read then.
        """
        where = where or self.where
        look = self._checked(iteration, number, where)
        shape = self.grid.shape if block is None else block.shape
        values = np.empty((len(look.names), *shape), dtype=np.float32)
        load, place = Loader(series, self.part, block), 0
        for record, layout, names in look.parts:
            out = values[place : place + len(names)]
            try:
                layout.read(record, names, load, out)
            except ValueError as error:
                raise ValueError(f"{_of(record.name, number, where)}: {error}") from error
            place += len(names)
        offset = look.parts[0][0].mesh.time_offset
        time = (iteration.time + offset) * iteration.time_unit_SI
        iteration.close()
        origin = {"grid_origin": look.grids[0].origin}
        return Step(number, time, values, origin, bytes_read=load.bytes_read)

    def _look(self, iteration: Any, number: int, where: str) -> _Look:
        iteration.open()
        parts: list[tuple[Record, Layout, list[str]]] = []
        units: list[str] = []
        grids: list[Grid] = []
        available: list[str] = []
        for name in self.records:
            record = find_record(iteration.meshes, name, f"iteration {number} of {where}")
            try:
                layout = self._layout(record)
                available += layout.names
                names = [n for n in layout.names if self.component in (None, n)]
                if self.component is None and layout.lacks:
                    raise ValueError(layout.lacks)
                for axis in record.meshes:
                    check_dtype(record.component(axis), self.part)
                grids += [layout.grid(record, n) for n in names]
            except ValueError as error:
                raise ValueError(f"{_of(record.name, number, where)}: {error}") from error
            if names:
                parts.append((record, layout, names))
                units += [unit_name(record.mesh.unit_dimension)] * len(names)
        if not parts:
            raise NotInIterationError(
                f"no component {self.component!r} of record {self._shown()} in iteration {number} "
                f"of {where}; available: {', '.join(available)}"
            )
        found = tuple(n for _, _, chosen in parts for n in chosen)
        if len(set(found)) < len(found):
            raise ValueError(f"record {self._shown()} names a component twice: {', '.join(found)}")
        self._check_grids(found, grids, number, where)
        return _Look(parts, found, tuple(available), tuple(units), grids)

    def _checked(self, iteration: Any, number: int, where: str) -> _Look:
        look, first = self._look(iteration, number, where), self._first
        if missing := [name for name in self.components if name not in look.names]:
            raise NotInIterationError(
                f"no component {missing[0]!r} of record {self._shown()} in iteration {number} of "
                f"{where}; available: {', '.join(look.available)}"
            )
        for name, grid in zip(look.names, look.grids, strict=True):
            self._check_shape(name, grid, number, where)
        grid = look.grids[0]
        deviations: dict[str, tuple[Any, Any]] = {
            "components": (look.names, self.components),
            "axes": (grid.axis_labels, self.grid.axis_labels),
            "spacing (m)": (grid.spacing, self.grid.spacing),
            "unit": (joint_unit(look.units), self.unit),
            "positions of its components": (look.stagger, first.stagger),
        }
        if isinstance(look.parts[0][1], ThetaLayout):  # around the axis, whatever the window does
            deviations["radius (m)"] = (-grid.origin[0], -self.grid.origin[0])
        for what, (found, expected) in deviations.items():
            # Lengths in metres are small: only positions, which are in cells, may be near 0.
            if not _same(found, expected, SAME if what.startswith("positions") else 0.0):
                raise ValueError(
                    f"iteration {number} of {where} has {what} {_shown(found)}, the first one, "
                    f"{self._number}, {_shown(expected)}; all must be alike"
                )
        time = (iteration.time + look.parts[0][0].mesh.time_offset) * iteration.time_unit_SI
        if not math.isfinite(time):
            raise ValueError(f"iteration {number} of {where} has the time {time} s")
        return look

    def _layout(self, record: Record) -> Layout:
        mesh = record.mesh
        labels = tuple(mesh.axis_labels if self.labels is None else self.labels)
        if not all(labels):
            raise ValueError(
                "it has lost its axis labels, as under ADIOS2's MarshalMethod bp5; let the "
                "producer set MarshalMethod to bp, or give axis_labels, slowest axis first"
            )
        if len(set(labels)) < len(labels):
            raise ValueError(f"its axisLabels are {', '.join(labels)}; each may come once")
        if mesh.geometry == io.Geometry.thetaMode:
            return ThetaLayout(record, labels, self.points)
        if mesh.geometry == io.Geometry.cartesian:
            return CartesianLayout(record, labels)
        raise ValueError(
            f"it has geometry {mesh.geometry_string}; cartesian and thetaMode can be read"
        )

    @staticmethod
    def _check_grids(names: Sequence[str], grids: Sequence[Grid], number: int, where: str) -> None:
        """Refuse components on grids of different axes or spacings, which are read as one."""
        for name, grid in zip(names, grids, strict=True):
            for what, found, expected in (
                ("axes", grid.axis_labels, grids[0].axis_labels),
                ("spacing (m)", grid.spacing, grids[0].spacing),
            ):
                if not _same(found, expected, 0.0):
                    raise ValueError(
                        f"iteration {number} of {where} has {name} of {what} {_shown(found)}, but "
                        f"{names[0]} of {_shown(expected)}; read records of one grid, or one "
                        "component"
                    )

    def _check_shape(self, name: str, grid: Grid, number: int, where: str) -> None:
        if 0 in grid.shape:
            raise ValueError(f"iteration {number} of {where} has {name} of shape {grid.shape}")
        if grid.shape != self.grid.shape:
            raise ValueError(
                f"iteration {number} of {where} has {name} of shape {grid.shape}, the "
                f"first {self.components[0]} {self.grid.shape}; all must share one shape: choose "
                "one component, or leave the iteration out"
            )

    def _shown(self) -> str:
        return " and ".join(repr(name) for name in self.records)


def _of(record: str, number: int, where: str) -> str:
    return f"record {record!r} in iteration {number} of {where}"


def _same(found: Any, expected: Any, near_zero: float) -> bool:
    """Return whether two values are equal, numbers but for rounding."""
    if isinstance(found, float | int) and isinstance(expected, float | int):
        return math.isclose(found, expected, rel_tol=SAME, abs_tol=near_zero)
    if isinstance(found, list | tuple):
        return len(found) == len(expected) and all(
            _same(a, b, near_zero) for a, b in zip(found, expected, strict=True)
        )
    return bool(found == expected)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_shown, value))})"
    return str(value)
