"""A folder of NumPy files, one file an iteration: the original format."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from insituml.data.blocks import Block
from insituml.data.iteration_range import IterationRange
from insituml.data.step import Grid, Step
from insituml.safe_reading import map_npy

COMPONENTS = ("Ex", "Ey", "Ez")
AXES = ("x", "y", "z")


class NpyFolder:
    """The electric field in ``data_<iteration>.npy`` files, each ``(3, nx, ny, nz)``, V/m.

    Files are ordered by the number in their name (``data_200`` before ``data_1000``) and read
    through a memory map, so that a single component costs a third of the reading. The format
    carries neither a grid nor a time; both may be given, and how fast a moving window moves.

    Each file is looked at when the folder is opened. One that is damaged, or not like the first
    good one, stays in the list, and reading it raises what is wrong with it.

    Parameters
    ----------
    path
        The folder. Files whose names do not match are ignored.
    component
        One of ``"Ex"``, ``"Ey"``, ``"Ez"``; None reads all three.
    spacing
        Distance between points along x, y and z, in metres. None means 1 along each axis: positions
        are then point numbers, not metres.
    origin
        Position of the first point at the first file, in metres (without ``spacing``: in points).
        None means 0.
    time_step
        Seconds that one unit of the iteration number stands for. The default 1 means that a step's
        time is its iteration number, not seconds.
    window_velocity
        Of a moving window along x, y and z, in metres a second; each step then says where its
        first point is. None: the window is fixed. Needs ``spacing`` and ``time_step``.
    iterations
        ``[first, last, period]``: every ``period``-th iteration from ``first`` through ``last``;
        None: all.

    Attributes
    ----------
    faults
        Iterations that cannot be read, with the reason.
    files
        What is read.
    divisible
        True: blocks can be read alone.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no such file in it.
    ValueError
        If the component is unknown, no file holds a field, two are of one iteration, or a window
        moves over points whose distances are not given.
    """

    components: tuple[str, ...]
    unit: str
    grid: Grid
    divisible = True

    def __init__(
        self,
        path: str | Path,
        component: str | None = None,
        spacing: tuple[float, float, float] | None = None,
        origin: tuple[float, float, float] | None = None,
        time_step: float = 1.0,
        window_velocity: tuple[float, float, float] | None = None,
        iterations: Sequence[int] | None = None,
    ) -> None:
        if component is not None and component not in COMPONENTS:
            raise ValueError(
                f"component={component!r} is not in these files; choose one of "
                f"{', '.join(COMPONENTS)}, or None for all"
            )
        chosen = IterationRange.of(iterations)
        self._files = _numbered(Path(path))
        if chosen is not None:
            chosen.refuse_nothing([number for number, _ in self._files], str(path))
            self._files = [(number, file) for number, file in self._files if number in chosen]
        self.files = [file for _, file in self._files]
        self.faults: dict[int, str] = {}
        shape = self._look()
        if component is None:
            self.components = COMPONENTS
            self._chosen = slice(None)
        else:
            self.components = (component,)
            index = COMPONENTS.index(component)
            self._chosen = slice(index, index + 1)
        self.unit = "V/m"
        self.time_step = time_step
        if window_velocity is not None and spacing is None:
            raise ValueError(
                f"window_velocity={tuple(window_velocity)} is in metres a second, but without "
                "spacing positions are point numbers; give spacing, origin and time_step too"
            )
        self._velocity = _three("window_velocity", window_velocity, 0.0)
        self.grid = Grid(
            shape=shape[1:],
            spacing=_three("spacing", spacing, 1.0),
            origin=_three("origin", origin, 0.0),
        )

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._files)

    @property
    def iteration_numbers(self) -> list[int]:
        """The number in the name of each file."""
        return [number for number, _ in self._files]

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps in order of their numbers, each read when asked for."""
        return self.steps(range(len(self)))

    def steps(self, places: Iterable[int], block: Block | None = None) -> Iterator[Step]:
        """Yield only the steps at these places; of each, a block alone where one is given."""
        points = () if block is None else block.slices
        for place in places:
            iteration, file = self._files[place]
            if iteration in self.faults:
                raise ValueError(self.faults[iteration])
            stored = _open(file)[(self._chosen, *points)]
            values, metadata = np.array(stored, dtype=np.float32), self._metadata(iteration)
            time = iteration * self.time_step
            yield Step(iteration, time, values, metadata, bytes_read=stored.nbytes)

    def _look(self) -> tuple[int, ...]:
        """Return the shape of the first good file, and note which others are not like it."""
        shape: tuple[int, ...] | None = None
        for number, file in self._files:
            try:
                found = _open(file).shape
            except (ValueError, OSError) as error:
                self.faults[number] = str(error)
                continue
            shape = shape or found
            if found != shape:
                self.faults[number] = (
                    f"{file} has shape {found}, but the first one {shape}; all iterations must "
                    "share one grid: remove the file or resample it"
                )
        if shape is None:
            raise ValueError(next(iter(self.faults.values())))
        return shape

    def _metadata(self, iteration: int) -> dict[str, tuple[float, ...]]:
        """Return where a moving window is; nothing of a fixed one."""
        if not any(self._velocity):
            return {}
        since = (iteration - self._files[0][0]) * self.time_step
        start = zip(self.grid.origin, self._velocity, strict=True)
        return {"grid_origin": tuple(place + since * velocity for place, velocity in start)}


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """List the folder's field files with their numbers, in numerical order."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder} (looked in {Path.cwd()}); give the folder that holds "
            "data_0.npy, data_100.npy, ..."
        )
    found = [(re.fullmatch(r"data_(\d+)\.npy", file.name), file) for file in folder.iterdir()]
    files = sorted((int(match[1]), file) for match, file in found if match)
    if not files:
        names = sorted(file.name for _, file in found)[:5]
        raise FileNotFoundError(
            f"no data_<iteration>.npy in {folder}; it holds {names or 'nothing'}"
        )
    for (number, file), (following, other) in itertools.pairwise(files):
        if number == following:
            raise ValueError(f"{file.name} and {other.name} are both iteration {number}")
    return files


def _open(file: Path) -> np.ndarray:
    """Map one file, checking that it holds a real field on a three-dimensional grid."""
    values = map_npy(file)
    shape = values.shape
    if len(shape) != 4 or shape[0] != len(COMPONENTS) or 0 in shape or values.dtype.kind != "f":
        raise ValueError(
            f"{file} holds {values.dtype} of shape {shape}; expected floats of shape "
            "(3, nx, ny, nz): components first, then the axes x, y, z"
        )
    return values


def _three(
    name: str, given: tuple[float, float, float] | None, default: float
) -> tuple[float, float, float]:
    """Check a triple of numbers, one an axis."""
    if given is None:
        return (default, default, default)
    if len(given) != len(AXES):
        raise ValueError(f"{name}={tuple(given)} must be three numbers, one each for x, y and z")
    return (float(given[0]), float(given[1]), float(given[2]))
