"""Any record of an openPMD series in files, from whatever code, as a source of fields.

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from insituml.data.blocks import Block
from insituml.data.iteration_range import IterationRange
from insituml.data.openpmd.paths import find_series, stored_files
from insituml.data.openpmd.reader_process import ask
from insituml.data.openpmd.stored_values import COMPLEX_PARTS
from insituml.data.step import Grid, Step, joint_unit

SLOWEST = 5e6
"""Bytes a second that reading may slow down to before it counts as hanging."""
_tokens = itertools.count()


class OpenPMDSeries:
    """Records of an openPMD series, in SI units.

    HDF5, ADIOS2 BP, JSON and TOML; iterations in groups, in files of their own, or as steps of the
    same variables. Arrays of order F are transposed, so that their axes are those of the labels.
    Modes around an axis (thetaMode) are put onto a Cartesian grid. NaN stands where a writer left
    out a part of an array.

    Each iteration is looked at when the series is opened. One that lacks the record is left out.
    One that is damaged or not like the first one stays in the list, and reading it raises what is
    wrong with it. A BP folder whose writer is at work, or was killed, is read as far as it got.

    openPMD-api runs in a process of its own: what it prints, waits for or dies of becomes one
    error.

    Each step's metadata has ``"grid_origin"``, where the first component's first point is at that
    iteration (metres): it moves with a moving window.

    Parameters
    ----------
    path
        A file or BP folder; a pattern such as ``"fields_%T.h5"``, ``"fields_%06T.bp"`` or
        ``"fields_%T.%E"`` for one file an iteration; or a folder that holds one series.
    record
        Name of the mesh, such as ``"E"`` or ``"B"``; several are read together, on one grid. Where
        there is none, scalar meshes ``Ex``, ``Ey``, ``Ez`` stand for a vector ``E``.
    component
        One component, by record and axis, such as ``"Ex"``; None reads all.
    cartesian_points
        For thetaMode: points along x and along y, from the outermost radius to the one opposite;
        None: twice the points along r. Other meshes ignore it.
    iterations
        ``[first, last, period]``: every ``period``-th iteration from ``first`` through ``last``;
        None: all.
    complex
        What to read of complex numbers, such as a laser's envelope: ``"abs"``, ``"real"`` or
        ``"imag"``; None: they are real.
    open_timeout
        Seconds that opening a file or an iteration may take without a sign of life.

    Attributes
    ----------
    units
        One a component.
    origins
        Where each component's first point is at the first iteration, in metres. On a staggered grid
        they differ; ``grid`` is the first component's.
    left_out
        Iterations that lack the record, with the reason.
    faults
        Iterations that cannot be read, with the reason.
    files
        What is read, BP folders by the files within.
    notes
        What is there and not read, in words.
    divisible
        Whether blocks can be read alone: not of modes around an axis.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KeyError
        If no iteration has the record and the component.
    ValueError
        If the path is a stream's (``.sst``), the series is empty, its geometry is neither Cartesian
        nor thetaMode, or its meshes contradict themselves, in all iterations.
    OSError
        If no iteration can be read.
    """

    components: tuple[str, ...]
    unit: str
    grid: Grid
    origins: tuple[tuple[float, ...], ...]
    divisible = True

    def __init__(
        self,
        path: str | Path,
        record: str | Sequence[str] = "E",
        component: str | None = None,
        cartesian_points: int | None = None,
        iterations: Sequence[int] | None = None,
        complex: str | None = None,
        open_timeout: float = 20.0,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix == ".sst":
            raise ValueError(
                f"{self.path} is a network stream, which comes once and in order; read it with "
                "insituml.stream.SSTSource, or write the data to a .bp or .h5 series"
            )
        if complex is not None and complex not in COMPLEX_PARTS:
            raise ValueError(f"complex is {complex!r}; expected one of {', '.join(COMPLEX_PARTS)}")
        if cartesian_points is not None and cartesian_points < 2:
            raise ValueError(f"cartesian_points is {cartesian_points}; expected two or more")
        if not open_timeout > 0 or not math.isfinite(open_timeout):
            raise ValueError(f"open_timeout is {open_timeout}; expected seconds above 0")
        records = [record] if isinstance(record, str) else list(record)
        if not records or not all(records) or len(set(records)) < len(records):
            raise ValueError(f"record is {record!r}; expected a name such as E, or several")
        self._options: dict[str, Any] = {
            "record": records,
            "component": component,
            "cartesian_points": cartesian_points,
            "complex": complex,
        }
        self._chosen = IterationRange.of(iterations)
        self._seconds = open_timeout
        self.left_out: dict[int, str] = {}
        self.faults: dict[int, str] = {}
        self._reference: dict[str, Any] | None = None
        self._look()

    def __len__(self) -> int:
        """Return the number of iterations."""
        return len(self._iterations)

    @property
    def iteration_numbers(self) -> list[int]:
        """The series' own number of each step."""
        return [number for number, _ in self._iterations]

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps in order, each read when asked for; the file is open in between."""
        return self.steps(range(len(self)))

    def steps(self, places: Iterable[int], block: Block | None = None) -> Iterator[Step]:
        """Yield only the steps at these places; one that cannot be read raises what is wrong.

        Parameters
        ----------
        places
            0 is the first.
        block
            Nothing but these points are read, where the series is ``divisible``; None: all.
        """
        token = next(_tokens)
        shape = self.grid.shape if block is None else block.shape
        size = 4.0 * len(self.components) * math.prod(shape)
        points = block and [block.start, block.shape]
        try:
            for place in places:
                number, file = self._iterations[place]
                if number in self.faults:
                    raise ValueError(self.faults[number])
                request = self._request("read", token, file, self._seconds + size / SLOWEST)
                answer, values = ask({**request, "number": number, "block": points})
                assert values is not None
                origin = {"grid_origin": tuple(answer["origin"])}
                yield Step(number, answer["time"], values, origin, bytes_read=answer["bytes"])
        finally:
            ask(self._request("close", token, self.path, self._seconds))

    def _look(self) -> None:
        """Open each file once and sort its iterations."""
        found = find_series(self.path)
        self._iterations: list[tuple[int, Path]] = []
        self._errors: list[Exception] = []
        there: list[int] = []
        notes = list(found.notes)
        token = next(_tokens)
        for named, file in found.files:
            if named is not None and self._chosen is not None and named not in self._chosen:
                there.append(named)
                continue
            try:
                answer, _ = ask(self._request("scan", token, file, self._seconds))
                self._sort(answer, named, file)
            except (ValueError, OSError) as error:
                if named is None:
                    raise
                self._errors.append(error)
                self.faults[named] = _naming(named, file, error)
                self._iterations.append((named, file))
                there.append(named)
                continue
            there += answer["all"]
            if named is not None and len(answer["all"]) > 1:
                held = ", ".join(map(str, answer["all"][:10]))
                notes.append(
                    f"{file} holds the iterations {held}; only {named}, its name's, is read"
                )
            if answer["unfinished"]:
                notes.append(f"{file} was not closed by its writer; it is read as far as it got")
        ask(self._request("close", token, self.path, self._seconds))
        if not there:
            raise ValueError(f"{self.path} has no iterations; was its writer interrupted?")
        if self._chosen is not None:
            self._chosen.refuse_nothing(there, str(self.path))
        if self._reference is None:
            raise self._errors[0]
        self._iterations.sort()
        numbers = [number for number, _ in self._iterations]
        if twice := sorted(
            {n for n in numbers if numbers.count(n) > 1} if len(set(numbers)) < len(numbers) else ()
        ):
            files = [str(file) for number, file in self._iterations if number == twice[0]]
            raise ValueError(f"{' and '.join(files)} are both iteration {twice[0]}; remove one")
        self.files = stored_files(list(dict.fromkeys(file for _, file in self._iterations)))
        self.notes = (*notes, *self._notes_of_absent())

    def _sort(self, answer: dict[str, Any], named: int | None, file: Path) -> None:
        """Note what a file's iterations are good for."""
        entries = answer["iterations"]
        if named is not None and len(entries) > 1:
            entries = [entry for entry in entries if entry[0] == named]
        if named is not None and not entries:
            held = ", ".join(map(str, answer["all"])) or "no iteration; was its writer interrupted?"
            raise ValueError(f"{file} holds {held}; its name says {named}")
        for number, verdict, reason in entries:
            if verdict == "absent":
                self.left_out[number] = reason
                self._errors.append(KeyError(reason))
                continue
            self._iterations.append((number, file))
            if verdict != "good":
                self.faults[number] = reason
                self._errors.append(OSError(reason) if verdict == "damaged" else ValueError(reason))
        described = answer["described"]
        if described is not None and self._reference is None:
            self._reference = {
                "file": str(file.absolute()),
                "shown": str(file),
                "number": described["number"],
            }
            shape, spacing, origin, labels = described["grid"]
            self.grid = Grid(tuple(shape), tuple(spacing), tuple(origin), tuple(labels))
            self.components = tuple(described["components"])
            self.units = tuple(described["units"])
            self.unit = joint_unit(self.units)
            self.origins = tuple(map(tuple, described["origins"]))
            self.divisible = bool(described["divisible"])

    def _request(self, what: str, token: int, file: Path, seconds: float) -> dict[str, Any]:
        chosen = self._chosen
        return {
            "what": what,
            "token": token,
            "file": str(file.absolute()),
            "shown": str(file),
            "seconds": seconds,
            "options": self._options,
            "select": chosen and [chosen.first, chosen.last, chosen.period],
            "reference": self._reference,
        }

    def _notes_of_absent(self) -> list[str]:
        """Say which iterations lack the record, those with one reason together."""
        if not self.left_out:
            return []
        numbers = sorted(self.left_out)
        shown = ", ".join(map(str, numbers[:10])) + (" and more" if len(numbers) > 10 else "")
        word = "iteration" if len(numbers) == 1 else f"{len(numbers)} iterations,"
        return [f"{word} {shown} of {self.path} left out: {self.left_out[numbers[0]]}"]


def _naming(number: int, file: Path, error: Exception) -> str:
    told = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    return told if str(file) in told and str(number) in told else f"iteration {number}: {told}"
