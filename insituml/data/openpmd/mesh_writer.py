"""Write steps of a field as iterations of an openPMD series, in a file or in a stream.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openpmd_api as io

from insituml.data.openpmd.units import DIMENSIONS, UNITS
from insituml.data.step import Grid, Step
from insituml.version import __version__

DATE = "1970-01-01 00:00:00 +0000"
"""Written instead of the current time, so that equal fields give equal files."""


class MeshWriter:
    """One vector field, step by step, ascending.

    Parameters
    ----------
    components
        Named by the record and one axis letter, such as ``("Ex", "Ey", "Ez")``.
    unit
        One of :data:`insituml.data.openpmd.units.UNITS`.
    grid
        Of all steps; a step's metadata ``"grid_origin"`` stands for its origin where there is one.

    Raises
    ------
    ValueError
        If the standard has no words for the components or the unit here.
    """

    def __init__(self, components: Sequence[str], unit: str, grid: Grid) -> None:
        if unit not in UNITS:
            raise ValueError(f"unit {unit!r} is not one of {', '.join(UNITS)}; add it to UNITS")
        records = {name[:-1] for name in components}
        if len(records) != 1 or "" in records or len(set(components)) < len(components):
            raise ValueError(
                f"components {components} do not name one record: expected its name and one "
                "axis letter each, such as ('Ex', 'Ey', 'Ez')"
            )
        self.components = tuple(components)
        self.unit = unit
        self.grid = grid
        self._before: tuple[int, float] | None = None  # iteration and time

    def begin(self, series: Any) -> None:
        """Write what describes the series; before its first step."""
        series.author = "insituml"
        series.set_software("insituml", __version__)
        series.date = DATE

    def write(self, iterations: Any, step: Step) -> None:
        """Write one step, whose values may be released then.

        Raises
        ------
        ValueError
            If its values have another shape than the components and the grid promise.
        """
        shape = (len(self.components), *self.grid.shape)
        if step.values.shape != shape:
            raise ValueError(
                f"iteration {step.iteration} has values of shape {step.values.shape}; the source's "
                f"components and grid promise {shape}"
            )
        iteration = iterations[step.iteration]
        iteration.time = step.time
        iteration.time_unit_SI = 1.0
        iteration.dt = 0.0
        if self._before is not None:
            number, time = self._before
            iteration.dt = (step.time - time) / (step.iteration - number)
        self._before = step.iteration, step.time
        mesh = iteration.meshes[self.components[0][:-1]]
        mesh.geometry = io.Geometry.cartesian
        mesh.data_order = "C"
        mesh.axis_labels = list(self.grid.axis_labels)
        mesh.grid_spacing = list(self.grid.spacing)
        mesh.grid_global_offset = list(step.metadata.get("grid_origin", self.grid.origin))
        mesh.grid_unit_SI = 1.0
        powers = zip(DIMENSIONS, UNITS[self.unit], strict=True)
        mesh.unit_dimension = {
            getattr(io.Unit_Dimension, base): power for base, power in powers if power
        }
        for name, values in zip(self.components, step.values, strict=True):
            component = mesh[name[-1]]
            # Not `component.position = ...`: that stores 80-bit floats with uninitialised padding.
            component.set_attribute("position", np.zeros(values.ndim))
            component.unit_SI = 1.0
            component.reset_dataset(io.Dataset(np.dtype(np.float32), list(values.shape)))
            component.store_chunk(np.ascontiguousarray(values, dtype=np.float32))
        iteration.close()  # flushes, and frees the arrays
