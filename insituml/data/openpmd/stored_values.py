"""The numbers of one stored component: those that were written, in SI units, as float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import openpmd_api as io

from insituml.data.blocks import Block
from insituml.data.openpmd.records import Record

COMPLEX_PARTS = ("abs", "real", "imag")
"""What can be read of complex numbers."""


def check_dtype(component: Any, part: str | None) -> None:
    """Refuse numbers that cannot be read, before any is.

    Raises
    ------
    ValueError
        If they are complex and it is not said what to read of them, the other way round, no
        numbers, or in no unit.
    """
    dtype = np.dtype(component.dtype)
    if dtype.kind == "c" and part is None:
        raise ValueError(
            f"its values are complex ({dtype}); choose what to read of them: complex=abs, "
            "complex=real or complex=imag"
        )
    if dtype.kind != "c" and part is not None:
        raise ValueError(f"its values are {dtype}, not complex; leave complex={part} out")
    if dtype.kind not in "cfiub":
        raise ValueError(f"its values are {dtype}; expected numbers")
    factor = float(component.unit_SI)
    if not math.isfinite(factor) or factor == 0:
        raise ValueError(f"its unitSI is {factor}; expected a number that is not 0")


class Loader:
    """Reads one stored component in SI units, in the order of the axis labels: a ``Load``.

    Parameters
    ----------
    series
        That the component is of.
    part
        What to read of complex numbers, one of :data:`COMPLEX_PARTS`; None: they are real.
    block
        Nothing but these points, in the order of the labels; None: all.
    """

    def __init__(self, series: Any, part: str | None, block: Block | None = None) -> None:
        self.series = series
        self.part = part
        self.block = block
        self.bytes_read = 0
        """As they are stored."""

    def __call__(self, record: Record, axis: str) -> np.ndarray:
        component = record.component(axis)
        if _is_repeated(self.series, component):
            raise ValueError(
                f"its component {axis!r} was written more than once, as by a run that was started "
                "again and appended to its series; which one holds cannot be told"
            )
        is_fortran = record.meshes[axis].data_order == "F"
        values = self._written(component, is_fortran)
        if self.part is not None:
            values = _part(values, self.part)
        if values.dtype == np.float16:  # a unit may be beyond its range
            values = values.astype(np.float32)
        values = values.T if is_fortran else values
        out = np.empty(values.shape, dtype=np.float32)
        with np.errstate(over="ignore"):  # what is infinite then is noticed where it is checked
            return np.multiply(values, component.unit_SI, out=out, casting="same_kind")

    def _written(self, component: Any, is_fortran: bool) -> np.ndarray:
        """Read a component; NaN where nothing was written.

        A backend leaves alone what no block covers, so that what was there before shows: undefined
        memory, if it is left to make the array itself.
        """
        start, shape = [0] * len(component.shape), list(component.shape)
        if self.block is not None:
            step = -1 if is_fortran else 1
            start, shape = list(self.block.start)[::step], list(self.block.shape)[::step]
        if component.constant:
            values = component.load_chunk(start, shape)
            self.series.flush()
            return np.asarray(values)
        dtype = np.dtype(component.dtype)

        def over(filling: Any) -> np.ndarray:
            values = np.full(shape, filling, dtype)
            component.load_chunk(values, start, shape)
            self.series.flush()
            self.bytes_read += values.nbytes
            return values

        if dtype.kind in "fc":
            return over(np.nan)
        values, again = over(0), over(1)
        untouched = values != again
        return np.where(untouched, np.nan, values) if untouched.any() else values


def _part(values: np.ndarray, part: str) -> np.ndarray:
    if part == "abs":
        return np.abs(values)
    return values.real if part == "real" else values.imag


def _is_repeated(series: Any, component: Any) -> bool:
    """Return whether an iteration of the group-based encoding was appended a second time.

    ADIOS2 then gives the values of one and the attributes of the other. Blocks that overlap within
    one output are no repetition: they cover less than twice the whole.
    """
    if series.backend != "ADIOS2" or component.constant:
        return False
    if series.iteration_encoding != io.Iteration_Encoding.group_based:
        return False
    blocks = [(tuple(c.offset), tuple(c.extent)) for c in component.available_chunks()]
    if len(blocks) < 2:
        return False
    points = sum(_count(extent) for _, extent in blocks)
    return len(set(blocks)) < len(blocks) or points >= 2 * _count(component.shape)


def _count(shape: Sequence[int]) -> int:
    return math.prod(int(n) for n in shape)
