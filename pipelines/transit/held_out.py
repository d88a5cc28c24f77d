"""Held-out steps of a stream, kept aside on disk within a budget of bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from insituml.atomic_file import write_atomically
from pipelines.common.errors import UserError


class HeldOut:
    """Whole held-out steps of each task; where they are too many, a uniform sample of them.

    Every step draws a number that depends on its iteration and the seed alone, and those with the
    smallest stay. So a step that arrives again after an interruption is kept or dropped as before.

    Parameters
    ----------
    folder
        Gets ``<task>/<iteration>.npy``; what lies there already is kept.
    tasks
        Number of tasks, which share the budget evenly.
    budget, step_bytes
        Bytes of all steps together, and of one.
    seed
        Of the draws.

    Raises
    ------
    UserError
        If the budget has no room for one step of each task.
    """

    def __init__(self, folder: Path, tasks: int, budget: int, step_bytes: int, seed: int) -> None:
        self.capacity = budget // (tasks * step_bytes)
        if self.capacity < 1:
            raise UserError(
                f"transit.held_out_bytes is {budget:,}, but one held-out step of each of {tasks} "
                f"tasks takes {tasks * step_bytes:,}; set it to that or more"
            )
        self.folder = folder
        self.seed = seed

    def add(self, task: int, iteration: int, chunks: np.ndarray) -> None:
        """Keep a step, ``(chunks, components, ...)``, if its draw is among the smallest."""
        others = [number for number in self.iterations(task) if number != iteration]
        if len(others) >= self.capacity:
            last = max(others, key=self._draw)
            if self._draw(iteration) > self._draw(last):
                return
            self._file(task, last).unlink()
        buffer = io.BytesIO()
        np.save(buffer, chunks)
        self._file(task, iteration).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file(task, iteration), buffer.getvalue())

    def iterations(self, task: int) -> list[int]:
        """Return the iterations kept of a task, in order."""
        return sorted(int(file.stem) for file in (self.folder / str(task)).glob("[0-9]*.npy"))

    def steps(self, task: int) -> np.ndarray:
        """Return the steps kept of a task, ``(steps, chunks, components, ...)``."""
        return np.stack([np.load(self._file(task, number)) for number in self.iterations(task)])

    def _draw(self, iteration: int) -> float:
        return float(np.random.default_rng([self.seed, iteration]).random())

    def _file(self, task: int, iteration: int) -> Path:
        return self.folder / str(task) / f"{iteration}.npy"
