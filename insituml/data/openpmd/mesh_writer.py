"""Write steps of a field as iterations of an openPMD series, in a file or in a stream.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import openpmd_api as io

from insituml.data.openpmd.units import DIMENSIONS, unit_powers
from insituml.data.step import Grid, Step
from insituml.version import __version__

DATE = "1970-01-01 00:00:00 +0000"
"""Written instead of the current time, so that equal fields give equal files."""
SCALAR: str = io.Mesh_Record_Component.SCALAR
"""How openPMD-api calls the only component of a scalar record."""
AXIS_LETTERS = "xyz"
"""The last letter of a vector's component."""


class MeshWriter:
    """Any records of one grid, step by step, ascending.

    Parameters
    ----------
    components
        Each named by its record and one axis letter, such as ``("Ex", "Ey", "Bz")``, or by the name
        of a scalar record, such as ``"rho"``; see :func:`places_of`.
    units
        Of all components, or one each, spelled with
        :data:`insituml.data.openpmd.units.SYMBOLS`; components of one record share theirs.
    grid
        Of all steps; a step's metadata ``"grid_origin"`` stands for its origin where there is one.

    Raises
    ------
    ValueError
        If the standard has no words for the components or a unit.
    """

    def __init__(self, components: Sequence[str], units: str | Sequence[str], grid: Grid) -> None:
        self.components = tuple(components)
        self.grid = grid
        if isinstance(units, str):
            units = [units] * len(self.components)
        self._places = places_of(self.components)
        self._units: dict[str, str] = {}
        for (record, _), unit in zip(self._places, units, strict=True):
            if self._units.setdefault(record, unit) != unit:
                raise ValueError(
                    f"components of record {record!r} have the units {self._units[record]!r} and "
                    f"{unit!r}; components of one record share a unit: name the records apart"
                )
        self._powers = {record: unit_powers(unit) for record, unit in self._units.items()}
        scalars = {record for record, key in self._places if key == SCALAR}
        vectors = {record for record, key in self._places if key != SCALAR}
        if len(set(self._places)) < len(self._places) or scalars & vectors or not self._places:
            raise ValueError(
                f"components {self.components} do not name different components of records: "
                "expected a record's name and one axis letter each, such as ('Ex', 'Ey', 'Ez'), or "
                "scalar records, such as ('rho',)"
            )
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
        for record in self._powers:
            self._describe(iteration.meshes[record], record, step)
        for (record, key), values in zip(self._places, step.values, strict=True):
            component = iteration.meshes[record][key]
            # Not `component.position = ...`: that stores 80-bit floats with uninitialised padding.
            component.set_attribute("position", np.zeros(values.ndim))
            component.unit_SI = 1.0
            component.reset_dataset(io.Dataset(np.dtype(np.float32), list(values.shape)))
            component.store_chunk(np.ascontiguousarray(values, dtype=np.float32))
        iteration.close()  # flushes, and frees the arrays

    def _describe(self, mesh: Any, record: str, step: Step) -> None:
        mesh.geometry = io.Geometry.cartesian
        mesh.data_order = "C"
        mesh.axis_labels = list(self.grid.axis_labels)
        mesh.grid_spacing = list(self.grid.spacing)
        mesh.grid_global_offset = list(step.metadata.get("grid_origin", self.grid.origin))
        mesh.grid_unit_SI = 1.0
        powers = zip(DIMENSIONS, self._powers[record], strict=True)
        mesh.unit_dimension = {
            getattr(io.Unit_Dimension, base): power for base, power in powers if power
        }


def places_of(components: Sequence[str]) -> list[tuple[str, str]]:
    """Return the record and the key in it by which openPMD knows each component.

    ``"Ex"`` is ``x`` of ``E``, ``"rho"`` a scalar record. A longer word that ends in an axis letter
    is a scalar too, as ``"density"`` is, unless another axis of the same record is among them.

    Raises
    ------
    ValueError
        If the standard allows no such name.
    """
    for name in components:
        if re.fullmatch(r"\w+", name, re.ASCII) is None:
            raise ValueError(
                f"component {name!r} cannot name an openPMD record; use letters, digits and _, "
                "such as Ex or rho"
            )
    ends_in_axis = {n: n[:-1] for n in components if len(n) > 1 and n[-1] in AXIS_LETTERS}
    several = {record for record, count in Counter(ends_in_axis.values()).items() if count > 1}
    places = []
    for name in components:
        record = name[:-1]
        short = re.search(r"^.$|[A-Z0-9_]$", record) is not None
        is_part = name in ends_in_axis and (short or ends_in_axis[name] in several)
        places.append((record, name[-1]) if is_part else (name, SCALAR))
    return places


def record_to_read(components: Sequence[str]) -> str | list[str]:
    """Return what a reader is to be asked for, to give these components in this order.

    A record's name where they are all of one and in the order of its axes, a list of records where
    they are of several, and else a list of the components.
    """
    records: dict[str, list[str]] = {}
    for record, key in places_of(components):
        records.setdefault(record, []).append(key)
    in_order = [
        record if key == SCALAR else f"{record}{key}"
        for record, keys in records.items()
        for key in sorted(keys)
    ]
    names = list(records) if in_order == list(components) else list(components)
    return names[0] if len(names) == 1 else names
