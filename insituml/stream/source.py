"""The one interface of everything that yields steps, live or from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from insituml.data.blocks import Block
from insituml.data.samples import Samples, SampleTask
from insituml.data.step import FieldSource, Grid, SourceFailedError, Step, joint_unit, units_of
from insituml.data.windows import TaskWindows, Window
from insituml.stream.events import Event, Finished, ProducerDied, Rejected, in_one_line


@dataclass(frozen=True, eq=False)
class SampleLayout:
    """What is the same for all steps of a stream of samples.

    Parameters
    ----------
    rows
        Samples of a step at most.
    input_shape, label_shape
        Of one sample: ``(components, ...)``, and of its label.
    label_dtype
        Such as ``"int64"``; inputs are float32.
    windows
        The tasks, which such a stream knows by itself.
    pixel_orders
        As in :class:`insituml.data.samples.Samples`, one row a task.
    """

    rows: int
    input_shape: tuple[int, ...]
    label_shape: tuple[int, ...]
    label_dtype: str
    windows: TaskWindows
    pixel_orders: np.ndarray | None = None


@dataclass(frozen=True)
class Description:
    """What is the same for all steps of a stream.

    Parameters
    ----------
    components
        Names, such as ``("Ex", "Ey", "Ez")``; none of samples.
    unit
        Of the values, such as ``"V/m"``; ``"V/m, T"`` where components differ.
    grid
        Of a field, at its first iteration; None for a stream of samples.
    iterations
        The iterations to come, in order; None where only the producer knows.
    samples
        Of a stream of samples; None for a field.
    units
        Of each component; none given: all have ``unit``.
    parameters
        What the simulation was run with, as far as it says so: numbers by name.
    divisible
        Whether several processes can each read a block of every iteration, and nothing else.
    """

    components: tuple[str, ...]
    unit: str
    grid: Grid | None
    iterations: tuple[int, ...] | None = None
    samples: SampleLayout | None = None
    units: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    divisible: bool = False

    def __post_init__(self) -> None:
        """Fill in the unit of each component."""
        object.__setattr__(self, "units", self.units or (self.unit,) * len(self.components))

    def of_block(self, block: Block) -> Description:
        """Return what a block of every iteration has."""
        grid = self.grid
        assert grid is not None
        begins = zip(grid.origin, block.start, grid.spacing, strict=True)
        origin = tuple(first + place * width for first, place, width in begins)
        return replace(self, grid=replace(grid, shape=block.shape, origin=origin))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of each step's values: ``(components, *grid)``, or ``(rows, *input)`` at most."""
        if self.samples is not None:
            return (self.samples.rows, *self.samples.input_shape)
        assert self.grid is not None
        return (len(self.components), *self.grid.shape)

    @property
    def columns(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of what each step carries, at most, by name."""
        columns = {"values": (self.shape, "float32")}
        if self.samples is not None:
            layout = self.samples
            columns["labels"] = ((layout.rows, *layout.label_shape), layout.label_dtype)
        return columns


@runtime_checkable
class Source(Protocol):
    """A stream of steps. The consumer cannot tell a file from a running simulation."""

    def describe(self) -> Description:
        """Return what all steps share, waiting for the producer if need be.

        Raises
        ------
        NoProducerError
            If nobody produces anything within the source's open timeout.
        """
        ...

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Yield steps and what is missing between them, then exactly one ending.

        Parameters
        ----------
        after
            Leave out steps up to and with this iteration: a resumed run has seen them.
        """
        ...


class DivisibleSource(Source, Protocol):
    """A source of which several processes can each read a block of every iteration."""

    def events(self, after: int | None = None, block: Block | None = None) -> Iterator[Event]:
        """Yield what :meth:`Source.events` does, steps of these points alone; None: of all."""
        ...


class FieldStream:
    """Any field of :mod:`insituml.data` as a stream, in this process.

    An iteration that cannot be read is :class:`Rejected`; the others still come.

    Parameters
    ----------
    source
        Closed-form field, openPMD files, folder of NumPy files, simulation.
    """

    def __init__(self, source: FieldSource) -> None:
        self.source = source

    def describe(self) -> Description:
        units = units_of(self.source)
        if len(self.source.iteration_numbers) == 0:
            raise ValueError(f"{type(self.source).__name__} has no iterations; nothing to learn")
        return Description(
            components=tuple(self.source.components),
            unit=joint_unit(units),
            grid=self.source.grid,
            iterations=tuple(self.source.iteration_numbers),
            units=units,
            parameters=_numbers(getattr(self.source, "parameters", None)),
            divisible=getattr(self.source, "divisible", False),
        )

    def events(self, after: int | None = None, block: Block | None = None) -> Iterator[Event]:
        try:
            numbers = self.source.iteration_numbers
            yield from self.steps([n for n in numbers if after is None or n > after], block)
        except Exception as error:  # whatever a simulation or a reader may raise
            yield ProducerDied(in_one_line(error))
        else:
            yield Finished()

    def steps(
        self, iterations: Sequence[int], block: Block | None = None
    ) -> Iterator[Step | Rejected]:
        """Yield the steps of these iterations; those that cannot be read are named, not raised.

        Of a source that is ``divisible``, a block alone where one is given.

        Raises
        ------
        SourceFailedError, ArithmeticError, ImportError, MemoryError
            If the source cannot go on, as a simulation that computed nonsense, or cannot run.
        """
        place = {number: k for k, number in enumerate(self.source.iteration_numbers)}
        left = list(iterations)
        while left:
            reason = "the source ended before it"
            try:
                options = () if block is None else (block,)
                for step in self.source.steps([place[number] for number in left], *options):
                    if not isinstance(step, Step):
                        reason = f"the source yielded {type(step).__name__}, not a Step"
                        break
                    if step.iteration != left[0]:
                        reason = f"the source yielded iteration {step.iteration!r} in its place"
                        break
                    del left[0]
                    yield step
                    if not left:
                        return
            except (SourceFailedError, ArithmeticError, ImportError, MemoryError):
                raise
            except Exception as error:  # whatever a reader may raise of one iteration
                reason = in_one_line(error)
            yield Rejected(left.pop(0), reason)


class SampleStream:
    """A data set in memory as a stream, in this process: its tasks in order, replayed in blocks.

    Within a task the held-out samples come first: a stream that ends early can then be judged.

    Parameters
    ----------
    samples
        The data set.
    tasks
        Its rows, task by task.
    rows
        Samples of a step at most; None: all training samples of a task are one step, and its
        held-out ones another, as are those to validate with.
    """

    def __init__(
        self, samples: Samples, tasks: Sequence[SampleTask], rows: int | None = None
    ) -> None:
        if rows is not None and rows < 1:
            raise ValueError(f"rows is {rows}; expected 1 sample or more, or None")
        self.samples = samples
        self._blocks: list[np.ndarray] = []
        windows = []
        for task in tasks:
            first = len(self._blocks)
            self._blocks += _blocks(task.test, rows)
            held_out = tuple(range(first, len(self._blocks)))
            if len(task.validation):
                self._blocks += _blocks(task.validation, rows)
            validation = tuple(range(first + len(held_out), len(self._blocks)))
            self._blocks += _blocks(task.train, rows)
            window = tuple(range(first, len(self._blocks)))
            windows.append(Window(task.name, window, held_out, validation))
        self.windows = TaskWindows(windows)

    def describe(self) -> Description:
        data = self.samples
        layout = SampleLayout(
            rows=max(map(len, self._blocks)),
            input_shape=data.inputs.shape[1:],
            label_shape=data.labels.shape[1:],
            label_dtype=str(data.labels.dtype),
            windows=self.windows,
            pixel_orders=data.pixel_orders,
        )
        return Description((), "", None, self.windows.iterations, layout)

    def events(self, after: int | None = None) -> Iterator[Event]:
        numbers = self.windows.iterations
        yield from self.steps([n for n in numbers if after is None or n > after])
        yield Finished()

    def steps(self, iterations: Sequence[int]) -> Iterator[Step]:
        """Yield the steps of these iterations; an iteration's number is its time too."""
        for number in iterations:
            rows = self._blocks[number]
            yield Step(
                number, float(number), self.samples.inputs[rows], labels=self.samples.labels[rows]
            )


def _numbers(announced: object) -> dict[str, float]:
    """Return the numbers among what a source says that it was run with."""
    if not isinstance(announced, Mapping):
        return {}
    return {str(k): float(v) for k, v in announced.items() if type(v) in (int, float)}


def _blocks(rows: np.ndarray, size: int | None) -> list[np.ndarray]:
    return [rows] if size is None else np.split(rows, range(size, len(rows), size))
