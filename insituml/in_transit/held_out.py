"""Held-out iterations of a stream, kept aside within a budget of bytes."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from insituml.atomic_file import write_atomically
from insituml.data.task_files import Columns


class HeldOut:
    """Whole held-out iterations of each task; where they are too many, a uniform sample of them.

    Each draws a number that depends on the iteration and the seed alone; those with the smallest
    stay. So one that arrives again after an interruption is kept or dropped as before.

    Parameters
    ----------
    tasks
        Number of tasks, which share the budget evenly.
    budget, iteration_bytes
        Bytes of all iterations together, and of one at most.
    seed
        Of the draws.
    folder
        Gets ``<task>/<iteration>.npz``; what lies there already is kept. None: in memory.

    Raises
    ------
    ValueError
        If the budget has no room for one iteration of each task.
    """

    def __init__(
        self,
        tasks: int,
        budget: int,
        iteration_bytes: int,
        seed: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.capacity = budget // (tasks * iteration_bytes)
        if self.capacity < 1:
            raise ValueError(
                f"the budget for held-out samples is {budget:,} bytes, but one held-out iteration "
                f"of each of {tasks} tasks takes {tasks * iteration_bytes:,}; give it that or more"
            )
        self.folder = folder
        self.seed = seed
        self._kept: dict[tuple[int, int], Columns] = {}
        self._digests: dict[tuple[int, int], str] = {}  # of each file written

    def add(self, task: int, iteration: int, columns: Columns) -> None:
        """Keep the samples of an iteration if its draw is among the smallest."""
        others = [number for number in self.iterations(task) if number != iteration]
        if len(others) >= self.capacity:
            last = max(others, key=self._draw)
            if self._draw(iteration) > self._draw(last):
                return
            self._forget(task, last)
        if self.folder is None:
            self._kept[task, iteration] = columns
            return
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **columns)
        file = self._file(task, iteration)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, buffer.getvalue())
        self._digests[task, iteration] = hashlib.sha256(buffer.getvalue()).hexdigest()

    def iterations(self, task: int) -> list[int]:
        """Return the iterations kept of a task, in order."""
        if self.folder is None:
            return sorted(number for kept, number in self._kept if kept == task)
        return sorted(int(file.stem) for file in (self.folder / str(task)).glob("[0-9]*.npz"))

    def samples(self, task: int) -> Iterator[Columns]:
        """Yield the samples of each iteration kept of a task, in order."""
        for iteration in self.iterations(task):
            if self.folder is None:
                yield self._kept[task, iteration]
            else:
                with np.load(self._file(task, iteration)) as columns:
                    yield dict(columns)

    def state_dict(self) -> list[list[Any]]:
        """Return which files there are: task, iteration and SHA-256 of each, plain values."""
        return [[*place, digest] for place, digest in sorted(self._digests.items())]

    def fault(self, state: list[list[Any]]) -> str:
        """Return what is wrong with the files that :meth:`state_dict` told of; nothing: ``""``.

        A file is not missed where later iterations with smaller draws have taken its place.
        """
        for task, iteration, digest in state:
            file = self._file(task, iteration)
            if file.is_file():
                if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                    return f"{file} is damaged"
            elif not self._displaced(task, iteration):
                return f"{file} is missing"
        return ""

    def load_state_dict(self, state: list[list[Any]]) -> None:
        """Go on with the files that :meth:`state_dict` told of; those that came later are deleted.

        Where some of them have displaced others, these stay: they come again.
        """
        assert self.folder is not None
        told = {(task, iteration): digest for task, iteration, digest in state}
        self._digests = {}
        for folder in self.folder.glob("*"):
            files = {self._place(file): file for file in folder.glob("[0-9]*.npz")}
            displaced = any(place[0] == int(folder.name) for place in told.keys() - files.keys())
            for place, file in files.items():
                if place in told:
                    self._digests[place] = told[place]
                elif displaced and _readable(file):
                    self._digests[place] = hashlib.sha256(file.read_bytes()).hexdigest()
                else:
                    file.unlink()

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._digests.clear()
        if self.folder is not None and self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _displaced(self, task: int, iteration: int) -> bool:
        kept = self.iterations(task)
        return len(kept) >= self.capacity and self._draw(iteration) > max(map(self._draw, kept))

    def _forget(self, task: int, iteration: int) -> None:
        if self.folder is None:
            del self._kept[task, iteration]
        else:
            self._file(task, iteration).unlink()
            self._digests.pop((task, iteration), None)

    def _draw(self, iteration: int) -> float:
        return float(np.random.default_rng([self.seed, iteration]).random())

    def _file(self, task: int, iteration: int) -> Path:
        assert self.folder is not None
        return self.folder / str(task) / f"{iteration}.npz"

    def _place(self, file: Path) -> tuple[int, int]:
        return int(file.parent.name), int(file.stem)


def _readable(file: Path) -> bool:
    try:
        with np.load(file) as columns:
            return all(columns[name] is not None for name in columns)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False
