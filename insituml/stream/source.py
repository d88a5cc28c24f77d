"""The one interface of everything that yields steps, live or from files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from insituml.data.step import FieldSource, Grid
from insituml.stream.events import Event, Finished, ProducerDied


@dataclass(frozen=True)
class Description:
    """What is the same for all steps of a stream.

    Parameters
    ----------
    components
        Names, such as ``("Ex", "Ey", "Ez")``.
    unit
        Of the values, such as ``"V/m"``.
    grid
        Of the first step.
    iterations
        The iterations to come, in order; None where only the producer knows.
    """

    components: tuple[str, ...]
    unit: str
    grid: Grid
    iterations: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """``(components, *grid)``: the shape of each step's values."""
        return (len(self.components), *self.grid.shape)


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


class FieldStream:
    """Any field of :mod:`insituml.data` as a stream, in this process.

    Parameters
    ----------
    source
        Closed-form field, openPMD files, folder of NumPy files, simulation.
    """

    def __init__(self, source: FieldSource) -> None:
        self.source = source

    def describe(self) -> Description:
        return Description(
            components=tuple(self.source.components),
            unit=self.source.unit,
            grid=self.source.grid,
            iterations=tuple(self.source.iteration_numbers),
        )

    def events(self, after: int | None = None) -> Iterator[Event]:
        numbers = self.source.iteration_numbers
        places = [k for k, number in enumerate(numbers) if after is None or number > after]
        try:
            yield from self.source.steps(places)
        except Exception as error:  # whatever a simulation or a reader may raise
            yield ProducerDied(f"{type(error).__name__}: {error}")
        else:
            yield Finished()
