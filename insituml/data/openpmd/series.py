"""Any mesh of an openPMD series in files, from whatever code, as a source of fields.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openpmd_api as io

from insituml.data.openpmd.mesh_reader import MeshReader
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
        If the path is a stream's (``.sst``), the series is empty, its geometry is neither Cartesian
        nor thetaMode, its mesh contradicts itself, or an iteration's shape differs from the first
        one's.
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
        if self.path.suffix == ".sst":
            raise ValueError(
                f"{self.path} is a network stream, which comes once and in order; read it with "
                "insituml.stream.SSTSource, or write the data to a .bp or .h5 series"
            )
        if not series_files(self.path):
            raise FileNotFoundError(f"no openPMD file {self.path} (looked in {Path.cwd()})")
        with _opened(self.path) as series:
            self._iterations = tuple(sorted(series.iterations))
            if not self._iterations:
                raise ValueError(f"{self.path} has no iterations; was its writer interrupted?")
            first = self._iterations[0]
            self._reader = MeshReader(
                series.iterations[first],
                first,
                record,
                component,
                cartesian_points,
                where=str(self.path),
            )
        self.components = self._reader.components
        self.unit = self._reader.unit
        self.grid = self._reader.grid
        self.origins = self._reader.origins

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
                yield self._reader.read(series, series.iterations[number], number)


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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a series, reading no iteration yet, and close it however the block is left."""
    series = io.Series(str(path), io.Access.read_only, '{"defer_iteration_parsing": true}')
    try:
        yield series
    finally:
        series.close()
