"""Any mesh of an openPMD series in files, from whatever code, as a source of fields.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openpmd_api as io

from insituml.data.openpmd_layout import CartesianLayout, Layout, Load, ThetaLayout
from insituml.data.openpmd_units import unit_name
from insituml.data.step import Grid, Step


class OpenPMDSeries:
    """One mesh record of an openPMD series, in SI units.

    HDF5 and ADIOS2 BP; iterations in groups, in files of their own, or as steps of the same
    variables. Arrays of order F are transposed, so that their axes are those of the labels. Modes
    around an axis (thetaMode) are put onto a Cartesian grid.

    Each step's metadata has ``"grid_origin"``, where the first component's first point is at that
    iteration (metres): it moves with a moving window.

    Parameters
    ----------
    path
        An HDF5 file, a BP folder or file, or a pattern such as ``"fields_%T.h5"`` or
        ``"fields_%06T.bp"`` for one file an iteration.
    record
        Name of the mesh, such as ``"E"`` or ``"B"``.
    component
        One component, by record and axis, such as ``"Ex"``; None reads all.
    cartesian_points
        For thetaMode: points along x and along y, from the outermost radius to the one opposite;
        None: twice the points along r. Other meshes ignore it.

    Attributes
    ----------
    origins
        Where each component's first point is at the first iteration, in metres. On a staggered grid
        they differ; ``grid`` is the first component's.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KeyError
        If the record or the component is not in the first iteration.
    ValueError
        If the series is empty, its geometry is neither Cartesian nor thetaMode, its mesh
        contradicts itself, or an iteration's shape differs from the first one's.
    """

    components: tuple[str, ...]
    unit: str
    grid: Grid
    origins: tuple[tuple[float, ...], ...]

    def __init__(
        self,
        path: str | Path,
        record: str = "E",
        component: str | None = None,
        cartesian_points: int | None = None,
    ) -> None:
        self.path = Path(path)
        if not series_files(self.path):
            raise FileNotFoundError(f"no openPMD file {self.path} (looked in {Path.cwd()})")
        self.record = record
        with _opened(self.path) as series:
            self._iterations = tuple(sorted(series.iterations))
            if not self._iterations:
                raise ValueError(f"{self.path} has no iterations; was its writer interrupted?")
            mesh = self._mesh(series.iterations[self._iterations[0]])
            self._layout = self._choose_layout(mesh, cartesian_points)
            names = self._layout.names
            if component is not None and component not in names:
                raise KeyError(
                    f"no component {component!r} of record {record!r} in {self.path}; "
                    f"available: {', '.join(names)}"
                )
            self.components = names if component is None else (component,)
            self.unit = unit_name(mesh.unit_dimension)
            grids = [self._layout.grid(mesh, name) for name in self.components]
            self.grid = grids[0]
            self._check_shapes(grids, self._iterations[0])
            self.origins = tuple(grid.origin for grid in grids)

    def __len__(self) -> int:
        """Return the number of iterations."""
        return len(self._iterations)

    @property
    def iteration_numbers(self) -> list[int]:
        """The series' own number of each step."""
        return list(self._iterations)

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps in order, each read when asked for; the file is open in between."""
        return self.steps(range(len(self)))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        """Yield only the steps at these places."""
        with _opened(self.path) as series:
            for place in places:
                number = self._iterations[place]
                iteration = series.iterations[number]
                mesh = self._mesh(iteration)
                grids = [self._layout.grid(mesh, name) for name in self.components]
                self._check_shapes(grids, number)
                values = np.empty((len(self.components), *self.grid.shape), dtype=np.float32)
                self._layout.read(mesh, self.components, _loader(series, mesh), values)
                time = (iteration.time + mesh.time_offset) * iteration.time_unit_SI
                iteration.close()
                yield Step(number, time, values, {"grid_origin": grids[0].origin})

    def _mesh(self, iteration: Any) -> Any:
        """Open an iteration and return the record's mesh."""
        iteration.open()
        if self.record not in iteration.meshes:
            raise KeyError(
                f"no record {self.record!r} in {self.path}; "
                f"available: {', '.join(iteration.meshes) or 'none'}"
            )
        return iteration.meshes[self.record]

    def _check_shapes(self, grids: list[Grid], number: int) -> None:
        for name, grid in zip(self.components, grids, strict=True):
            if grid.shape != self.grid.shape:
                raise ValueError(
                    f"iteration {number} of {self.path} has {name} of shape {grid.shape}, the "
                    f"first {self.components[0]} {self.grid.shape}; all must share one shape"
                )

    def _choose_layout(self, mesh: Any, points: int | None) -> Layout:
        scalar = io.Mesh_Record_Component.SCALAR
        if mesh.geometry == io.Geometry.thetaMode:
            return ThetaLayout(mesh, self.record, scalar, points)
        if mesh.geometry == io.Geometry.cartesian:
            return CartesianLayout(mesh, self.record, scalar)
        raise ValueError(
            f"record {self.record!r} of {self.path} has geometry {mesh.geometry_string}; "
            "cartesian and thetaMode can be read"
        )


def series_files(path: Path) -> list[Path]:
    """Return the files and BP folders of a series, given by its path or by a pattern with ``%T``.

    Parameters
    ----------
    path
        As :class:`OpenPMDSeries` takes it.

    Returns
    -------
    list of Path
        Sorted; empty if there are none.
    """
    if re.search(r"%(0\d+)?T", path.name) is None:
        return [path] if path.exists() else []
    parts = re.split(r"%(?:0\d+)?T", path.name)
    name = re.compile(r"\d+".join(map(re.escape, parts)))
    return sorted(f for f in path.parent.glob("*") if name.fullmatch(f.name))


def _loader(series: Any, mesh: Any) -> Load:
    """Return what reads one stored component in SI units, in the order of the axis labels."""

    def load(key: str) -> np.ndarray:
        part = mesh[key].load_chunk()
        series.flush()
        values = part.T if mesh.data_order == "F" else part
        out = np.empty(values.shape, dtype=np.float32)
        return np.multiply(values, mesh[key].unit_SI, out=out, casting="same_kind")

    return load


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a series, reading no iteration yet, and close it however the block is left."""
    series = io.Series(str(path), io.Access.read_only, '{"defer_iteration_parsing": true}')
    try:
        yield series
    finally:
        series.close()
