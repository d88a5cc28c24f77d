"""What openPMD series can be read and written here; the network stream is tried."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insituml_pipelines.checking.finding import Finding, State

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from insituml.stream.child import Child

PATIENCE = 30.0
"""Seconds that a writer and a reader in two processes have to find each other and be done."""
COUNT = 2
"""Iterations that are streamed."""


def look_at_formats() -> Iterator[Finding]:
    """Files by the backends that openPMD-api was built with, and the stream by trying."""
    try:
        from insituml.data.openpmd.backends import extensions
    except ImportError as error:
        yield Finding("openPMD", "openPMD-api", State.MISSING, str(error), "install it anew")
        return
    there = extensions()
    hdf5 = "h5" in there
    yield Finding(
        "openPMD",
        "HDF5",
        State.GOOD if hdf5 else State.MISSING,
        "reads and writes .h5" if hdf5 else "openPMD-api was built without it",
        "" if hdf5 else "needed: pip install openpmd-api, whose wheels have it",
    )
    engines = [name for name in ("bp", "bp4", "bp5", "sst") if name in there]
    yield Finding(
        "openPMD",
        "ADIOS2",
        State.GOOD if engines else State.OPTIONAL,
        f"engines {', '.join(engines)}" if engines else "openPMD-api was built without it",
        "" if engines else "for BP files and streams: pip install openpmd-api; its wheels have it",
    )
    wrong = _stream_once() if "sst" in there else "this ADIOS2 has no engine SST"
    yield Finding(
        "openPMD",
        "SST",
        State.OPTIONAL if wrong else State.GOOD,
        wrong or f"{COUNT} iterations went from one process to another",
        "for learning from a simulation over the network; files and one process need none"
        if wrong
        else "",
    )


def _stream_once() -> str:
    """Stream a field to another process and compare it; say what went wrong, empty if nothing."""
    from insituml.stream.child import Child

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "doctor.sst")
        writer, reader = Child(_write, path), Child(_read, path)
        try:
            return _outcome(reader)
        finally:
            for child in (reader, writer):
                child.end(force=True)


def _outcome(reader: Child) -> str:
    try:
        said = reader.hear(PATIENCE)
    except EOFError:
        return f"the reader {reader.how_it_ended()}"
    if said is None:
        return f"nothing came through within {PATIENCE:.0f} s; is a firewall on this machine?"
    return str(said)


class _Ramp:
    """A field whose values are known."""

    unit = "V/m"

    def __init__(self) -> None:
        from insituml.data.step import Grid

        self.components: tuple[str, ...] = ("Ex",)
        self.iteration_numbers = list(range(COUNT))
        self.grid = Grid((4, 3, 2), (1e-6,) * 3, (0.0,) * 3)

    def __len__(self) -> int:
        return COUNT

    def __iter__(self) -> Iterator[Any]:
        yield from self.steps(range(COUNT))

    def steps(self, places: Any) -> Iterator[Any]:
        from insituml.data.step import Step

        for k in places:
            yield Step(k, 0.0, _values(k), {})


def _values(k: int) -> np.ndarray:
    return (np.arange(24, dtype=np.float32) + 100 * k).reshape(1, 4, 3, 2)


def _write(told: Connection, tells: Connection, path: str) -> None:
    """Run in a child process."""
    from insituml.stream import FieldStream, write_sst

    write_sst(path, FieldStream(_Ramp()), wait_for_reader=True)


def _read(told: Connection, tells: Connection, path: str) -> None:
    """Run in a child process: nothing from within Python can end a wait for a stream."""
    from insituml.stream import SSTSource
    from insituml.stream.child import say
    from insituml.stream.events import NoProducerError

    try:
        events = list(SSTSource(path, open_timeout=PATIENCE / 2).events())
    except NoProducerError as error:
        say(tells, str(error))
        os._exit(0)
    came = [event.values for event in events if hasattr(event, "values")]
    whole = len(came) == COUNT and all(np.array_equal(v, _values(k)) for k, v in enumerate(came))
    say(tells, "" if whole else f"of {COUNT} iterations, {len(came)} came, or other values")
