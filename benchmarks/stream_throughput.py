"""How fast steps arrive from each source, against a plain copy of the same bytes.

The consumer does what any consumer of a stream has to: each step is checked for NaN and infinity
(the ring's producer does that) and copied into an array of the consumer's own. The plain side is
``numpy.copyto`` alone. Files are read from the system's cache, SST by a child that feeds the ring,
as is recommended. Seconds are those of the clock, because some sources are processes of their own;
starting them, and the first steps, do not count.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openpmd_api

from benchmarks.report import Row
from insituml.data.lwfa import LwfaField
from insituml.data.npy_folder import NpyFolder
from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.openpmd.writer import write_series
from insituml.data.step import Grid, Step
from insituml.stream import (
    Event,
    FieldStream,
    Finished,
    RingSource,
    SSTSource,
    checked,
    write_sst,
)

WARM_UP = 8
"""Steps that do not count; more than the ring and SST's queue hold."""
SLOTS = 4
DIFFERENT = 8
"""Different steps of the prepared field: together they do not fit into a processor's cache."""


Shape = tuple[int, int, int]


class PreparedField:
    """A field whose steps cost nothing: a few arrays of noise, made once, over and over."""

    components = ("Ex", "Ey", "Ez")
    unit = "V/m"

    def __init__(self, shape: Shape, iterations: int) -> None:
        self.grid = Grid(shape, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0))
        self.iteration_numbers = list(range(iterations))
        noise = np.random.default_rng(0).standard_normal
        self.arrays = [noise((3, *shape), dtype=np.float32) for _ in range(DIFFERENT)]

    def __len__(self) -> int:
        return len(self.iteration_numbers)

    def __iter__(self) -> Iterator[Step]:
        return self.steps(range(len(self)))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        for place in places:
            yield Step(place, float(place), self.arrays[place % DIFFERENT])


def prepared_stream(shape: Shape, iterations: int) -> FieldStream:
    """Return a stream whose steps cost nothing; a child process makes its own."""
    return FieldStream(PreparedField(shape, iterations))


class SSTLoopback:
    """The prepared field through the network stream; each reading starts its writer."""

    def __init__(self, path: Path, shape: Shape, iterations: int) -> None:
        self.arguments = (path, shape, iterations)
        self.ring = RingSource(partial(SSTSource, path), slots=SLOTS)

    def events(self) -> Iterator[Event]:
        context = multiprocessing.get_context("spawn")
        writer = context.Process(target=write_prepared, args=self.arguments, daemon=True)
        writer.start()
        try:
            yield from self.ring.events()
            writer.join()
        finally:
            self.ring.close()
            writer.kill()


def write_prepared(path: Path, shape: Shape, iterations: int) -> None:
    """Write the prepared field to whoever reads it; run in a child process."""
    write_sst(path, prepared_stream(shape, iterations))


Measured = FieldStream | RingSource | SSTLoopback


def sources(shape: Shape, steps: int, folder: Path) -> dict[str, Measured]:
    """Return the sources by name, all of the same number of steps; files are written here."""
    count = WARM_UP + steps
    prepared = PreparedField(shape, count)
    for step in prepared:
        np.save(folder / f"data_{step.iteration}.npy", step.values)
    for suffix in ("h5", "bp"):
        write_series(folder / f"series.{suffix}", prepared)
    made: dict[str, Measured] = {
        "prepared field, in process": FieldStream(prepared),
        "wakefield in closed form, in process": FieldStream(
            LwfaField(shape=shape, iterations=count)
        ),
        "folder of .npy": FieldStream(NpyFolder(folder)),
        "openPMD, HDF5": FieldStream(OpenPMDSeries(folder / "series.h5")),
        "openPMD, BP": FieldStream(OpenPMDSeries(folder / "series.bp")),
        "prepared field, ring": RingSource(partial(prepared_stream, shape, count), slots=SLOTS),
    }
    if "sst" in openpmd_api.file_extensions:
        made["openPMD, SST over loopback"] = SSTLoopback(folder / "prepared.sst", shape, count)
    return made


def seconds_a_step(source: Measured, mine: np.ndarray) -> float:
    """Read a stream to its end, copying each step's values into ``mine``."""
    events: Iterator[Event] = source.events()
    if isinstance(source, FieldStream):
        events = checked(events, source.describe())
    times = []
    for event in events:
        if isinstance(event, Step):
            np.copyto(mine, event.values)
            times.append(time.perf_counter())
    assert isinstance(event, Finished), event
    return (times[-1] - times[WARM_UP - 1]) / (len(times) - WARM_UP)


def seconds_a_copy(arrays: list[np.ndarray], mine: np.ndarray, count: int) -> float:
    """Copy ``count`` arrays, one after the other, into ``mine``."""
    started = time.perf_counter()
    for place in range(count):
        np.copyto(mine, arrays[place % DIFFERENT])
    return (time.perf_counter() - started) / count


@dataclass(frozen=True)
class Rate:
    """How fast the steps of one source arrived."""

    source: str
    megabytes: float
    """A second."""
    steps: float
    """A second."""
    of_copy: float

    def rows(self) -> list[Row]:
        return [
            Row(f"{self.source}: MB/s", self.megabytes),
            Row(f"{self.source}: steps/s", self.steps),
            Row(f"{self.source}: rate, of a plain copy", self.of_copy),
        ]


def rates(shape: Shape, steps: int, turns: int) -> list[Rate]:
    """Measure the plain copy and every source; they take turns."""
    arrays = PreparedField(shape, 1).arrays
    mine = np.zeros_like(arrays[0])
    times: dict[str, list[float]] = {"plain copy": []}
    with TemporaryDirectory() as folder:
        every = sources(shape, steps, Path(folder))
        for _ in range(turns):
            for name, source in every.items():
                times["plain copy"].append(seconds_a_copy(arrays, mine, steps))
                times.setdefault(name, []).append(seconds_a_step(source, mine))
    speeds = {name: 1 / statistics.median(own) for name, own in times.items()}
    return [
        Rate(name, mine.nbytes * speed / 1e6, speed, speed / speeds["plain copy"])
        for name, speed in speeds.items()
    ]
