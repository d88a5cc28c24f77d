"""Read one mesh of an openPMD iteration, from whatever the iteration comes: a file or a stream.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openpmd_api as io

from insituml.data.openpmd.layout import CartesianLayout, Layout, Load, ThetaLayout
from insituml.data.openpmd.units import unit_name
from insituml.data.step import Grid, Step


class MeshReader:
    """One mesh record in SI units, as the first iteration has it.

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

    Attributes
    ----------
    components, unit, grid, origins
        As :class:`insituml.data.openpmd.series.OpenPMDSeries` has them.

    Raises
    ------
    KeyError
        If the iteration has no such record, or the record no such component.
    ValueError
        If its geometry is neither Cartesian nor thetaMode, it contradicts itself, or its axes have
        lost their labels.
    """

    def __init__(
        self,
        iteration: Any,
        number: int,
        record: str,
        component: str | None,
        cartesian_points: int | None,
        where: str,
        axis_labels: Sequence[str] | None = None,
    ) -> None:
        self.record = record
        self.where = where
        mesh = self._mesh(iteration, number)
        labels = tuple(mesh.axis_labels if axis_labels is None else axis_labels)
        if not all(labels):
            raise ValueError(
                f"{where} has lost the axis labels of record {record!r}, as ADIOS2's MarshalMethod "
                "bp5 does; let the producer set MarshalMethod to bp, or give axis_labels, slowest "
                "axis first"
            )
        self._layout = self._choose_layout(mesh, labels, cartesian_points)
        names = self._layout.names
        if component is not None and component not in names:
            raise KeyError(
                f"no component {component!r} of record {record!r} in {where}; "
                f"available: {', '.join(names)}"
            )
        self.components = names if component is None else (component,)
        self.unit = unit_name(mesh.unit_dimension)
        grids = [self._layout.grid(mesh, name) for name in self.components]
        self.grid = grids[0]
        self._check_shapes(grids, number)
        self.origins = tuple(grid.origin for grid in grids)

    def read(self, series: Any, iteration: Any, number: int) -> Step:
        """Read one iteration and close it.

        Raises
        ------
        KeyError
            If it has no such record.
        ValueError
            If its shape differs from the first one's. Nothing has been read then.
        """
        mesh = self._mesh(iteration, number)
        grids = [self._layout.grid(mesh, name) for name in self.components]
        self._check_shapes(grids, number)
        values = np.empty((len(self.components), *self.grid.shape), dtype=np.float32)
        self._layout.read(mesh, self.components, _loader(series, mesh), values)
        time = (iteration.time + mesh.time_offset) * iteration.time_unit_SI
        iteration.close()
        return Step(number, time, values, {"grid_origin": grids[0].origin})

    def _mesh(self, iteration: Any, number: int) -> Any:
        """Open an iteration and return the record's mesh."""
        iteration.open()
        if self.record not in iteration.meshes:
            raise KeyError(
                f"no record {self.record!r} in iteration {number} of {self.where}; "
                f"available: {', '.join(iteration.meshes) or 'none'}"
            )
        return iteration.meshes[self.record]

    def _check_shapes(self, grids: list[Grid], number: int) -> None:
        for name, grid in zip(self.components, grids, strict=True):
            if grid.shape != self.grid.shape:
                raise ValueError(
                    f"iteration {number} of {self.where} has {name} of shape {grid.shape}, the "
                    f"first {self.components[0]} {self.grid.shape}; all must share one shape"
                )

    def _choose_layout(self, mesh: Any, labels: tuple[str, ...], points: int | None) -> Layout:
        scalar = io.Mesh_Record_Component.SCALAR
        if mesh.geometry == io.Geometry.thetaMode:
            return ThetaLayout(mesh, self.record, labels, scalar, points)
        if mesh.geometry == io.Geometry.cartesian:
            return CartesianLayout(mesh, self.record, labels, scalar)
        raise ValueError(
            f"record {self.record!r} of {self.where} has geometry {mesh.geometry_string}; "
            "cartesian and thetaMode can be read"
        )


def _loader(series: Any, mesh: Any) -> Load:
    """Return what reads one stored component in SI units, in the order of the axis labels."""

    def load(key: str) -> np.ndarray:
        part = mesh[key].load_chunk()
        series.flush()
        values = part.T if mesh.data_order == "F" else part
        out = np.empty(values.shape, dtype=np.float32)
        return np.multiply(values, mesh[key].unit_SI, out=out, casting="same_kind")

    return load
