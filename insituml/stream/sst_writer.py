"""Stream any source over the network as an openPMD series (ADIOS2's engine SST)."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from pathlib import Path

import openpmd_api as io

from insituml.data.openpmd.mesh_writer import MeshWriter
from insituml.data.step import Step
from insituml.stream.events import ProducerDied, Stalled
from insituml.stream.source import Source
from insituml.stream.sst_contact import check_stream_path
from insituml.stream.sst_series import ITERATIONS, PARAMETERS, engine_config

POLICIES = {"block": "Block", "drop": "Discard"}


def write_sst(
    path: str | Path,
    source: Source,
    *,
    queue_limit: int = 2,
    policy: str = "block",
    wait_for_reader: bool = True,
    readers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Stream a source to whoever reads it, such as :class:`insituml.stream.SSTSource`.

    The series is as :func:`insituml.data.openpmd.writer.write_series` writes it, one step of ADIOS2
    each, variable-based. Its attributes ``insitumlIterations`` and ``insitumlParameters`` tell the
    iterations to come, and what the simulation is run with, where the source knows them. **For
    trusted networks only**: the writer listens on all network interfaces, even where
    ``NetworkInterface`` is ``lo``, as here.

    Whatever the policy, steps wait for nobody but a reader that is connected: those written while
    there is none, or none any more, are lost (see :class:`insituml.stream.SSTSource`). While it
    waits for a reader, nothing from within Python can interrupt it, Ctrl-C included; so does
    ``insituml_pipelines.produce`` run it in a child process.

    Parameters
    ----------
    path
        The contact file, by which readers find the writer, ending in ``.sst``; replaced if it
        exists, removed at the end. Its folder must exist.
    source
        What to stream; :class:`insituml.stream.FieldStream` makes one of any field. What it lost or
        rejected is not written, so that the reader misses it.
    queue_limit
        Steps that the writer holds for a slow reader; memory is bounded by so many steps.
    policy
        Once the queue is full, ``"block"``: wait for the reader; ``"drop"``: discard new steps.
    wait_for_reader
        Wait with the first step until somebody reads; otherwise begin at once.
    readers
        How many readers to wait for, such as several ranks that each read blocks.
    progress
        Called with the iteration after each step that was written; None calls nothing.

    Raises
    ------
    ValueError
        If the source is of samples, the path is no stream's, the queue unbounded, the policy
        unknown, there are to be no readers, or the standard has no words here for the source's
        components or unit.
    FileNotFoundError
        If the folder does not exist.
    RuntimeError
        If the source ends otherwise than finished. For this and any other error, the stream is not
        closed, so that no reader takes it for complete: readers learn of it when the process ends.
    """
    path = Path(path)
    check_stream_path(path)
    config = writer_config(queue_limit, policy, wait_for_reader, readers)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent}; create it before streaming {path.name}")
    description = source.describe()
    if description.grid is None:
        raise ValueError("samples have no openPMD mesh; only a field can be streamed over SST")
    writer = MeshWriter(description.components, description.units, description.grid)
    series = io.Series(str(path), io.Access.create_linear, config)
    series.iteration_encoding = io.Iteration_Encoding.variable_based
    # The last reference would close the stream, as if all had been written.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(series))
    try:
        writer.begin(series)
        if description.iterations is not None:
            series.set_attribute(ITERATIONS, list(description.iterations))
        if description.parameters:
            series.set_attribute(PARAMETERS, json.dumps(dict(description.parameters)))
        iterations = series.snapshots()
        for event in source.events():
            if isinstance(event, Step):
                writer.write(iterations, event)
                if progress is not None:
                    progress(event.iteration)
            elif isinstance(event, ProducerDied):
                raise RuntimeError(event.reason)
            elif isinstance(event, Stalled):
                raise RuntimeError(f"the source gave nothing for {event.seconds} s")
        series.close()
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(series))
    finally:
        path.unlink(missing_ok=True)


def writer_config(queue_limit: int, policy: str, wait_for_reader: bool, readers: int = 1) -> str:
    """Return openPMD-api's configuration of the writer.

    Raises
    ------
    ValueError
        If the queue is unbounded, the policy unknown, there are to be no readers, or several that
        are not waited for.
    """
    if readers < 1:
        raise ValueError(f"readers is {readers}; expected 1 or more, or wait_for_reader=False")
    if readers > 1 and not wait_for_reader:
        raise ValueError(
            f"readers is {readers}, which counts only where the first iteration waits for them; "
            "set wait_for_reader=True"
        )
    if queue_limit < 1:
        raise ValueError(
            f"queue_limit is {queue_limit}; expected 1 or more: ADIOS2 takes 0 for no limit, and a "
            "slow reader would let the producer fill its memory"
        )
    if policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}; choose one of {', '.join(POLICIES)}")
    return engine_config(
        MarshalMethod="bp",  # bp5, the default, loses lists of strings: the axis labels
        QueueLimit=str(queue_limit),
        QueueFullPolicy=POLICIES[policy],
        RendezvousReaderCount=str(readers if wait_for_reader else 0),
    )
