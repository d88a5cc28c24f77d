"""Fields in openPMD files: write any source to HDF5, read any openPMD mesh as a source.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openpmd_api as io

from insituml.data.step import FieldSource, Grid, Step
from insituml.version import __version__

DIMENSIONS = ("L", "M", "T", "I", "theta", "N", "J")
"""The standard's base quantities, in its order."""
UNITS: dict[str, tuple[float, ...]] = {
    "V/m": (1, 1, -3, -1, 0, 0, 0),
    "T": (0, 1, -2, -1, 0, 0, 0),
    "A/m^2": (-2, 0, 0, 1, 0, 0, 0),
    "C/m^3": (-3, 0, 1, 1, 0, 0, 0),
    "1": (0, 0, 0, 0, 0, 0, 0),
}
"""Units by the powers of the base quantities."""
DATE = "1970-01-01 00:00:00 +0000"
"""Written instead of the current time, so that equal fields give equal files."""
MODIFIED = b"\x12\x00\x08\x00\x00\x00\x00\x00\x01\x00\x00\x00"
"""HDF5's header of the message "object modification time"; four bytes of seconds follow."""
BLOCK = 1 << 24
"""Bytes searched for it at once."""


def write_series(
    path: str | Path,
    source: FieldSource,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a source to one HDF5 file, holding one step in memory at a time.

    The same steps give the same bytes, whenever they are written. The file appears under its name
    when it is complete: it is written beside it and then moved.

    Parameters
    ----------
    path
        The file, ending in ``.h5``; replaced if it exists. Its folder must exist.
    source
        What to write. Its components are named by the record and one axis letter, such as ``"Ex"``.
    progress
        Called with ``(steps written, steps in all)`` after each step; None calls nothing.

    Raises
    ------
    ValueError
        If the name has another ending, or the source is empty, or has a unit or components that
        the standard has no words for here, or yields values of another shape than its grid.
    FileNotFoundError
        If the folder does not exist.
    """
    path = Path(path)
    if path.suffix != ".h5":
        raise ValueError(f"{path} must end in .h5: one HDF5 file is written")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent}; create it before writing {path.name}")
    if source.unit not in UNITS:
        raise ValueError(f"unit {source.unit!r} is not one of {', '.join(UNITS)}; add it to UNITS")
    records = {name[:-1] for name in source.components}
    if len(records) != 1 or "" in records or len(set(source.components)) < len(source.components):
        raise ValueError(
            f"components {source.components} do not name one record: expected its name and one "
            "axis letter each, such as ('Ex', 'Ey', 'Ez')"
        )
    if len(source) == 0:
        raise ValueError(f"the source has no steps; nothing to write to {path}")

    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished.h5")
    try:
        with _opened(unfinished, io.Access.create) as series:
            series.author = "insituml"
            series.set_software("insituml", __version__)
            series.date = DATE
            before: Step | None = None
            for done, step in enumerate(source, start=1):
                _write_step(series, source, step, before)
                # The next `dt` needs the times alone: do not keep the values.
                before = Step(step.iteration, step.time, np.empty(0))
                del step
                if progress is not None:
                    progress(done, len(source))
        _forget_times(unfinished, expected=len(source) * len(source.components))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_step(series: Any, source: FieldSource, step: Step, before: Step | None) -> None:
    """Write one step and release it."""
    shape = (len(source.components), *source.grid.shape)
    if step.values.shape != shape:
        raise ValueError(
            f"iteration {step.iteration} has values of shape {step.values.shape}; the source's "
            f"components and grid promise {shape}"
        )
    iteration = series.iterations[step.iteration]
    iteration.time = step.time
    iteration.time_unit_SI = 1.0
    iteration.dt = 0.0
    if before is not None:
        iteration.dt = (step.time - before.time) / (step.iteration - before.iteration)
    mesh = iteration.meshes[source.components[0][:-1]]
    mesh.geometry = io.Geometry.cartesian
    mesh.data_order = "C"
    mesh.axis_labels = list(source.grid.axis_labels)
    mesh.grid_spacing = list(source.grid.spacing)
    mesh.grid_global_offset = list(source.grid.origin)
    mesh.grid_unit_SI = 1.0
    powers = zip(DIMENSIONS, UNITS[source.unit], strict=True)
    mesh.unit_dimension = {
        getattr(io.Unit_Dimension, base): power for base, power in powers if power
    }
    for name, values in zip(source.components, step.values, strict=True):
        component = mesh[name[-1]]
        # Not `component.position = ...`: that stores 80-bit floats with uninitialised padding.
        component.set_attribute("position", np.zeros(values.ndim))
        component.unit_SI = 1.0
        component.reset_dataset(io.Dataset(np.dtype(np.float32), list(values.shape)))
        component.store_chunk(np.ascontiguousarray(values, dtype=np.float32))
    iteration.close()  # flushes, and frees the arrays


def _forget_times(file: Path, expected: int) -> None:
    """Set every data set's modification time to 0: nothing in openPMD turns it off.

    HDF5 notes the second at which a data set was created, the only thing in the file that differs
    between two runs. Its messages lie at multiples of eight bytes and have no checksum.
    """
    with file.open("r+b") as handle:
        found = []
        for start in range(0, file.stat().st_size, BLOCK):
            handle.seek(start)
            block = handle.read(BLOCK + len(MODIFIED) - 1)
            at = block.find(MODIFIED)
            while at >= 0:
                if at % 8 == 0:
                    found.append(start + at + len(MODIFIED))
                at = block.find(MODIFIED, at + 1)
        if len(found) not in (0, expected):
            raise RuntimeError(
                f"{len(found)} modification times found in {file}, expected {expected} (one a data "
                "set): this HDF5 lays files out differently, see _forget_times"
            )
        for at in found:
            handle.seek(at)
            handle.write(bytes(4))


class OpenPMDSeries:
    """One mesh record of an openPMD series, in SI units.

    Parameters
    ----------
    path
        An openPMD file, or a pattern such as ``"fields_%T.h5"`` for one file an iteration.
    record
        Name of the mesh, such as ``"E"`` or ``"B"``.
    component
        One component, by record and axis, such as ``"Ex"``; None reads all.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KeyError
        If the record or the component is not in the first iteration.
    ValueError
        If the series is empty, or an iteration's grid differs from the first one's.
    """

    components: tuple[str, ...]
    unit: str
    grid: Grid

    def __init__(self, path: str | Path, record: str = "E", component: str | None = None) -> None:
        self.path = Path(path)
        if "%" not in self.path.name and not self.path.exists():
            raise FileNotFoundError(f"no openPMD file {self.path} (looked in {Path.cwd()})")
        self.record = record
        with _opened(self.path, io.Access.read_only) as series:
            self._iterations = tuple(sorted(series.iterations))
            if not self._iterations:
                raise ValueError(f"{self.path} has no iterations; was its writer interrupted?")
            mesh = self._mesh(series.iterations[self._iterations[0]])
            names = {f"{record}{axis}": axis for axis in mesh}
            if mesh.scalar:
                names = {record: io.Mesh_Record_Component.SCALAR}
            if component is not None and component not in names:
                raise KeyError(
                    f"no component {component!r} of record {record!r} in {self.path}; "
                    f"available: {', '.join(names)}"
                )
            self.components = tuple(names) if component is None else (component,)
            self._axes = tuple(names[name] for name in self.components)
            self.unit = _unit(mesh.unit_dimension)
            self.grid = self._grid(mesh)

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
        with _opened(self.path, io.Access.read_only) as series:
            for place in places:
                number = self._iterations[place]
                iteration = series.iterations[number]
                mesh = self._mesh(iteration)
                values = np.empty((len(self._axes), *self.grid.shape), dtype=np.float32)
                for i, axis in enumerate(self._axes):
                    if tuple(mesh[axis].shape) != self.grid.shape:
                        raise ValueError(
                            f"iteration {number} of {self.path} has shape "
                            f"{tuple(mesh[axis].shape)}, the first one {self.grid.shape}; all "
                            "iterations must share one grid"
                        )
                    part = mesh[axis].load_chunk()
                    series.flush()
                    np.multiply(part, mesh[axis].unit_SI, out=values[i], casting="same_kind")
                time = iteration.time * iteration.time_unit_SI
                iteration.close()
                yield Step(iteration=number, time=time, values=values)

    def _mesh(self, iteration: Any) -> Any:
        """Open an iteration and return the record's mesh."""
        iteration.open()
        if self.record not in iteration.meshes:
            raise KeyError(
                f"no record {self.record!r} in {self.path}; "
                f"available: {', '.join(iteration.meshes) or 'none'}"
            )
        return iteration.meshes[self.record]

    def _grid(self, mesh: Any) -> Grid:
        """Read where the points are: the first chosen component's, if the grid is staggered."""
        component = mesh[self._axes[0]]
        if len(component.shape) != len(mesh.grid_spacing):
            raise ValueError(
                f"record {self.record!r} of {self.path} has {len(component.shape)} axes, but its "
                f"gridSpacing has {len(mesh.grid_spacing)} numbers; its writer must set one an axis"
            )
        spacing = [float(d) * mesh.grid_unit_SI for d in mesh.grid_spacing]
        offset = [float(o) * mesh.grid_unit_SI for o in mesh.grid_global_offset]
        inside = zip(offset, component.position, spacing, strict=True)
        return Grid(
            shape=tuple(int(n) for n in component.shape),
            spacing=tuple(spacing),
            origin=tuple(start + share * width for start, share, width in inside),
            axis_labels=tuple(mesh.axis_labels),
        )


@contextmanager
def _opened(path: Path, access: Any) -> Iterator[Any]:
    """Open a series, reading no iteration yet, and close it however the block is left."""
    series = io.Series(str(path), access, '{"defer_iteration_parsing": true}')
    try:
        yield series
    finally:
        series.close()


def _unit(powers: list[float]) -> str:
    """Name a unit, or spell it in base units."""
    for name, known in UNITS.items():
        if tuple(powers) == known:
            return name
    base = zip(("m", "kg", "s", "A", "K", "mol", "cd"), powers, strict=True)
    return " ".join(f"{symbol}^{power:g}" for symbol, power in base if power)
