"""A producer for the tests of the network stream, run as a script in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openpmd_api as io

from insituml.data.step import Grid, Step
from insituml.stream import Description, Event, Finished, write_sst
from insituml.stream.sst import engine_config

GRID = Grid((2, 3, 4), (1e-6, 2e-7, 3e-6), (-2e-6, -2.5e-5, 7e-6))


class Numbers:
    """Steps of random numbers, ten iterations apart, with a fault at one of them.

    Faults wait for the file ``go`` in the folder, so that what came before is delivered.
    """

    components = ("Ex", "Ey", "Ez")
    unit = "V/m"
    grid = GRID

    def __init__(
        self,
        count: int = 5,
        fault: str | None = None,
        at: int | None = None,
        announced: bool = True,
    ) -> None:
        self.iteration_numbers = [10 * k for k in range(count)]
        self.fault = fault
        self.at = at
        self.announced = announced

    def __len__(self) -> int:
        return len(self.iteration_numbers)

    def __iter__(self) -> Iterator[Step]:
        return map(self.step, self.iteration_numbers)

    def describe(self) -> Description:
        numbers = tuple(self.iteration_numbers) if self.announced else None
        return Description(self.components, self.unit, self.grid, numbers)

    def events(self, after: int | None = None) -> Iterator[Event]:
        for number in self.iteration_numbers:
            if number == self.at:
                self.break_down()
            if self.fault == "rest":
                time.sleep(0.1)
                if Path("enough").exists():
                    break
            yield self.step(number)
        yield Finished()

    def step(self, number: int) -> Step:
        values = np.random.default_rng(number).normal(size=(3, *self.grid.shape))
        origin = (-2e-6, -2.5e-5, 7e-6 + 1e-9 * number)  # a moving window
        return Step(number, 1e-15 * number, values.astype(np.float32), {"grid_origin": origin})

    def break_down(self) -> None:
        Path("reached").touch()
        while not Path("go").exists():
            time.sleep(0.01)
        match self.fault:
            case "raise":
                raise ArithmeticError("out of plasma")
            case "exit":
                os._exit(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)


def write_as_other_codes_do(
    path: str, encoding: str, marshal: str, order: str, lacking: tuple[int, ...] = (4,)
) -> None:
    """Stream a staggered vector B in gauss; some iterations lack it, one has another shape."""
    config = engine_config(QueueLimit="2", MarshalMethod=marshal)
    series = io.Series(path, io.Access.create_linear, config)
    series.iteration_encoding = getattr(io.Iteration_Encoding, encoding)
    for number in (0, 3, 4, 5, 8):
        iteration = series.snapshots()[number]
        iteration.time, iteration.time_unit_SI = float(number), 1e-15
        mesh = iteration.meshes["rho" if number in lacking else "B"]
        mesh.data_order = order
        mesh.axis_labels = ["z", "y", "x"]
        mesh.grid_spacing = [1.0, 2.0, 4.0]
        mesh.grid_global_offset = [10.0, 20.0 + number, 30.0]
        mesh.grid_unit_SI = 1e-6
        base = io.Unit_Dimension
        mesh.unit_dimension = {base.M: 1, base.T: -2, base.I: -1}
        kept = []  # until the flush
        for k, axis in enumerate("xyz"):
            values = field_of_other_codes(number, axis)[: 1 if number == 5 else 2]
            kept.append(np.ascontiguousarray(values.T if order == "F" else values))
            component = mesh[axis]
            component.unit_SI = 1e-4
            component.position = [0.5 * (k == j) for j in range(3)]
            component.reset_dataset(io.Dataset(kept[-1].dtype, list(kept[-1].shape)))
            component.store_chunk(kept[-1])
        iteration.close()
    series.close()


def field_of_other_codes(number: int, axis: str) -> np.ndarray:
    """Return a component's values, in gauss, axes as labelled."""
    return np.random.default_rng([number, ord(axis)]).normal(size=(2, 3, 4))


if __name__ == "__main__":
    kind, path, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if kind == "other":
        write_as_other_codes_do(path, **options)
    else:
        write_options = options.pop("write", {})
        write_sst(path, Numbers(**options), **write_options)
