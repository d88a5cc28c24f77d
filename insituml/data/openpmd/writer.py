"""Write any source of fields to an openPMD series, in HDF5 or ADIOS2 BP.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import openpmd_api as io

from insituml.data.openpmd.mesh_writer import MeshWriter
from insituml.data.step import FieldSource, units_of

MODIFIED = b"\x12\x00\x08\x00\x00\x00\x00\x00\x01\x00\x00\x00"
"""HDF5's header of the message "object modification time"; four bytes of seconds follow."""
BLOCK = 1 << 24
"""Bytes searched for it at once."""
BP = '{"adios2": {"engine": {"type": "bp5"}}}'
PROFILE = "profiling.json"
"""What ADIOS2 timed: the one file of a BP folder that differs between runs; readers ignore it."""


def write_series(
    path: str | Path,
    source: FieldSource,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a source to one series, holding one step in memory at a time.

    The same steps give the same bytes, whenever they are written. The series appears under its
    name when it is complete: it is written beside it and then moved.

    Parameters
    ----------
    path
        Ending in ``.h5`` for one HDF5 file, in ``.bp`` for one ADIOS2 folder (BP5, variable-based
        encoding); replaced if it exists. Its folder must exist.
    source
        What to write. Its components are named by the record and one axis letter, such as ``"Ex"``,
        or are scalar records, such as ``"rho"``; there may be several records.
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
    if path.suffix not in (".h5", ".bp"):
        raise ValueError(f"{path} must end in .h5 (one HDF5 file) or .bp (one ADIOS2 folder)")
    if "%" in path.name:
        raise ValueError(f"{path} is a pattern, but all iterations go to one series; name it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent}; create it before writing {path.name}")
    writer = MeshWriter(source.components, units_of(source), source.grid)
    if len(source) == 0:
        raise ValueError(f"the source has no steps; nothing to write to {path}")

    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        _write(unfinished, writer, source, progress)
        if path.suffix == ".h5":
            _forget_times(unfinished, expected=len(source) * len(source.components))
        else:
            (unfinished / PROFILE).unlink(missing_ok=True)
        _move(unfinished, path)
    finally:
        _remove(unfinished)


def _write(
    path: Path,
    writer: MeshWriter,
    source: FieldSource,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write all steps."""
    if path.suffix == ".bp":
        series = io.Series(str(path), io.Access.create_linear, BP)
        # ADIOS2 slows down with the steps under group-based encoding.
        series.iteration_encoding = io.Iteration_Encoding.variable_based
        iterations = series.snapshots()
    else:
        series = io.Series(str(path), io.Access.create)
        iterations = series.iterations
    try:
        writer.begin(series)
        for done, step in enumerate(source, start=1):
            writer.write(iterations, step)
            del step
            if progress is not None:
                progress(done, len(source))
    finally:
        series.close()


def _move(new: Path, path: Path) -> None:
    """Give a complete series its name; an old folder makes way first, as none can be replaced."""
    if path.is_dir():
        old = new.with_name(f"{new.name}.replaced")
        path.replace(old)
        new.replace(path)
        _remove(old)
    else:
        new.replace(path)


def _remove(path: Path) -> None:
    """Remove a file or a folder, or nothing."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
