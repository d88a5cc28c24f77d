"""What the arrays of a stream mean: where, when, in which unit and scale. It travels with them.

The same record stands beside the task files, as ``stream.json``, and in every checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from insituml.data.normalisation import Normalisation
from insituml.data.step import Grid

FORMAT = 1
"""Version of the layout; a reader refuses others."""


@dataclass(frozen=True, eq=False)
class TaskInfo:
    """One task of a stream.

    Parameters
    ----------
    name
        What figures call it.
    train, test
        Number of samples to learn from, and held out.
    normalisation
        That of its samples.
    iterations, held_out
        Its iterations, and those of them that are held out.
    """

    name: str
    train: int
    test: int
    normalisation: Normalisation
    iterations: tuple[int, ...]
    held_out: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Manifest:
    """A stream that was cut into tasks of normalised samples.

    Parameters
    ----------
    name, kind
        Of the data, such as ``"lwfa"`` and ``"field"``, ``"points"`` or ``"images"``.
    in_transit
        Whether it was learned as it arrived: its training samples are gone.
    columns
        Of a sample: ``("inputs",)`` or ``("inputs", "labels")``.
    sample_shape
        ``(components, ...)`` of one sample's inputs.
    condition_size
        Numbers in the label of one sample; 0: there are none.
    components, unit
        Of a field; none of samples. Where components differ in unit, as ``"V/m, T"``.
    grid
        Of a field, at its first iteration; None of samples.
    chunk
        Points along each axis of the chunks that a field was cut into, each one a sample.
    permuted
        Whether images are shown with their pixels in another order for each task.
    tasks
        In order.
    times, origins
        By iteration, as far as it was seen: physical time in seconds, and where the first point of
        each axis lay, in metres.
    fingerprint
        Digest of the data; in transit, where they are not kept, of what they are made and cut by.
    configuration
        What the data were made by, plain values.
    units
        Of each component; none given: all have ``unit``.
    """

    name: str
    kind: str
    in_transit: bool
    columns: tuple[str, ...]
    sample_shape: tuple[int, ...]
    condition_size: int
    components: tuple[str, ...]
    unit: str
    grid: Grid | None
    chunk: tuple[int, ...] | None
    permuted: bool
    tasks: tuple[TaskInfo, ...]
    times: Mapping[int, float]
    origins: Mapping[int, tuple[float, ...]]
    fingerprint: str
    configuration: Mapping[str, Any] = field(default_factory=dict)
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Fill in the unit of each component."""
        object.__setattr__(self, "units", self.units or (self.unit,) * len(self.components))

    @property
    def title(self) -> str:
        """What figures call the stream."""
        return f"{self.name} in transit" if self.in_transit else self.name

    @property
    def task_names(self) -> list[str]:
        return [task.name for task in self.tasks]

    @property
    def iterations(self) -> tuple[int, ...]:
        """Iterations of all tasks, in order."""
        return tuple(number for task in self.tasks for number in task.iterations)

    def origin(self, iteration: int) -> tuple[float, ...]:
        """Return where the first point of each axis of a field lies at an iteration, in metres."""
        assert self.grid is not None
        return self.origins.get(iteration, self.grid.origin)

    def to_plain(self) -> dict[str, Any]:
        """Return nested dictionaries and lists of plain values."""
        plain = asdict(self) | {"format": FORMAT, "iterations": list(self.iterations)}
        # JSON knows only keys that are strings.
        for name in ("times", "origins"):
            plain[name] = {str(number): value for number, value in plain[name].items()}
        for task, info in zip(plain["tasks"], self.tasks, strict=True):
            normalisation = info.normalisation
            task["normalisation"] = {
                "mean": normalisation.mean.tolist(),
                "std": normalisation.std.tolist(),
            }
        return _listed(plain)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], where: str = "the manifest") -> Self:
        """Return what :meth:`to_plain` came from.

        Raises
        ------
        ValueError
            If it is of another format, or not a manifest; the message begins with ``where``.
        """
        found = plain.get("format") if isinstance(plain, Mapping) else None
        if found != FORMAT:
            was = f"has format {found!r}" if found is not None else "has no format number"
            raise ValueError(
                f"{where} {was}, this version of insituml reads format {FORMAT}; make it again "
                "with this version"
            )
        try:
            return cls(**_typed(plain))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{where} is damaged ({type(error).__name__}: {error}); make it again"
            ) from error


def _listed(value: Any) -> Any:
    """Turn tuples into lists, as JSON does, so that both ways of storing are alike."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value


def _typed(plain: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in plain.items() if key not in ("format", "iterations")}
    for name in ("columns", "sample_shape", "components"):
        values[name] = tuple(values[name])
    values["units"] = tuple(values.get("units", ()))  # older ones have the one unit alone
    if values["grid"] is not None:
        values["grid"] = Grid(**{key: tuple(item) for key, item in values["grid"].items()})
    if values["chunk"] is not None:
        values["chunk"] = tuple(values["chunk"])
    values["times"] = {int(number): float(time) for number, time in values["times"].items()}
    values["origins"] = {int(number): tuple(o) for number, o in values["origins"].items()}
    values["tasks"] = tuple(_task(task) for task in values["tasks"])
    return values


def _task(plain: Mapping[str, Any]) -> TaskInfo:
    scale = plain["normalisation"]
    return TaskInfo(
        name=plain["name"],
        train=plain["train"],
        test=plain["test"],
        normalisation=Normalisation(np.array(scale["mean"]), np.array(scale["std"])),
        iterations=tuple(plain["iterations"]),
        held_out=tuple(plain["held_out"]),
    )
