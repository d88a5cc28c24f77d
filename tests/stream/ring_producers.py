"""Sources that a spawned child can import, well-behaved or not; no test in here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from insituml.data.lwfa import LwfaField
from insituml.data.step import Grid, Step
from insituml.stream import Description, Event, FieldStream, Finished

SHAPE = (1, 2, 3)


def wakefield() -> FieldStream:
    return FieldStream(
        LwfaField(shape=(2, 256, 2), iterations=7, window=(-25e-6, 15e-6), half_width=6e-6)
    )


class Numbers:
    """``count`` steps, ``period`` iterations apart, with a fault at one iteration."""

    def __init__(
        self,
        count: int,
        period: int = 10,
        fault: str | None = None,
        at: int | None = None,
        folder: Path | None = None,
    ) -> None:
        if fault == "never":
            raise FileNotFoundError("no simulation here")
        if fault == "silent":
            time.sleep(600)
        if fault == "gone":
            os._exit(5)
        self.iterations = range(0, count * period, period)
        self.fault = fault
        self.at = at
        self.folder = folder

    def describe(self) -> Description:
        return Description(("E",), "V/m", Grid(SHAPE[1:], (1.0, 1.0), (0.0, 0.0), ("x", "y")))

    def events(self, after: int | None = None) -> Iterator[Event]:
        for k, iteration in enumerate(self.iterations):
            if after is None or iteration > after:
                values = np.arange(6, dtype=np.float32).reshape(SHAPE) + iteration
                values = self.spoil(values) if iteration == self.at else values
                metadata: dict[str, object] = {"place": k}
                if self.fault == "wordy":
                    metadata["notes"] = "x" * 1_000_000  # more than a pipe holds
                yield Step(iteration, iteration * 1e-15, values, metadata)
        if self.fault == "wait at the end":
            self.wait_for_consumer()
        if self.fault != "no ending":
            yield Finished()

    def spoil(self, values: np.ndarray) -> np.ndarray:
        match self.fault:
            case "raise":
                raise EOFError("the file is cut short")
            case "exit":
                os._exit(7)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "hang":
                time.sleep(600)
            case "wait":
                self.wait_for_consumer()
            case "nan":
                values[0, 0, :2] = np.nan
                values[0, 1, 0] = np.inf
            case "too large":
                return values.astype(np.float64) * 1e300
            case "shape":
                return values[:, :, :2]
        return values

    def wait_for_consumer(self) -> None:
        assert self.folder is not None
        (self.folder / "reached").touch()
        while not (self.folder / "go").exists():
            time.sleep(0.01)
