"""One iteration of a simulation as it travels, with the grid it lives on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Where the points of a field are, in SI units (openPMD's mesh attributes).

    Parameters
    ----------
    shape
        Number of points along each axis.
    spacing
        Distance between points along each axis, in metres.
    origin
        Position of the first point of each axis, in metres, at the first iteration; that of a
        moving window is :attr:`Step.origin`.
    axis_labels
        Names of the axes, slowest varying first.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    axis_labels: tuple[str, ...] = ("x", "y", "z")


@dataclass(frozen=True)
class Step:
    """What is known at one iteration: a field, or samples with their labels.

    Parameters
    ----------
    iteration
        The iteration's number, the simulation's own.
    time
        Physical time in seconds.
    values
        A field ``(components, *grid.shape)``, float32, in the source's unit; or samples
        ``(n, components, ...)``.
    metadata
        What else is known, such as ``"grid_origin"`` (metres) of a moving window.
    labels
        ``(n, ...)``, one row a sample; None for a field.
    bytes_read
        How many bytes of a file or a network were read for it, as they are stored; 0 where nobody
        counts, as of what is computed.
    """

    iteration: int
    time: float
    values: np.ndarray
    metadata: Mapping[str, Any] = field(default_factory=dict)
    labels: np.ndarray | None = None
    bytes_read: int = 0

    @property
    def origin(self) -> tuple[float, ...] | None:
        """Where the first point of each axis is now, in metres; None: where the grid says."""
        origin = self.metadata.get("grid_origin")
        return None if origin is None else tuple(float(place) for place in origin)


class _Measured(Protocol):
    components: tuple[str, ...]
    unit: str


class FieldSource(Protocol):
    """An ordered sequence of steps of fields on one grid; iterate as often as you like.

    Components may be of any records, such as ``("Ex", "Ey", "Ez")``, ``("Bz",)``, ``("rho",)`` or
    of several. Where they differ in unit, a source has ``units`` as well, one each
    (:func:`units_of`). One whose ``divisible`` is true reads blocks alone:
    ``steps(places, block)`` takes a :class:`insituml.data.blocks.Block`.
    """

    components: tuple[str, ...]
    unit: str
    grid: Grid

    @property
    def iteration_numbers(self) -> list[int]:
        """The simulation's number of each step."""
        ...

    def __len__(self) -> int:
        """Return the number of steps."""
        ...

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps in order, holding one in memory at a time."""
        ...

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        """Yield only the steps at these places (0 is the first), reading nothing else.

        An error here is that of one iteration: whoever asked may go on with the next place. A
        source that cannot go on raises :class:`SourceFailedError`.
        """
        ...


class SourceFailedError(RuntimeError):
    """A source broke down for good: none of its later iterations can be had."""


def units_of(source: _Measured) -> tuple[str, ...]:
    """Return the unit of each component: the source's ``units``, or else its one ``unit``.

    Raises
    ------
    ValueError
        If there are not as many as components.
    """
    units = tuple(getattr(source, "units", None) or [source.unit] * len(source.components))
    if len(units) != len(source.components):
        raise ValueError(
            f"the source has units {units} of components {tuple(source.components)}; give one each"
        )
    return units


def joint_unit(units: Sequence[str]) -> str:
    """Return the one unit of all components, or the different ones, as ``"V/m, T"``."""
    return ", ".join(dict.fromkeys(units))
