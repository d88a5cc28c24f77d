"""What the arrays of a stream mean: where, when, in which unit and scale. It travels with them.

The same record stands beside the task files, as ``stream.json``, and in every checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from insituml.data.ensemble import Ensemble
from insituml.data.normalisation import Normalisation
from insituml.data.plain_values import typed
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
    train, test, validation
        Number of samples to learn from, held out to test with, and to select by.
    normalisation
        That of its samples.
    iterations, held_out, validation_iterations
        Its iterations, and those of them that are held out to test with, and to select by.
    """

    name: str
    train: int
    test: int
    normalisation: Normalisation
    iterations: tuple[int, ...]
    held_out: tuple[int, ...]
    validation: int = 0
    validation_iterations: tuple[int, ...] = ()


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
    ensemble
        Of several simulations, who they are and how their iterations are numbered; None of one.
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
    ensemble: Ensemble | None = None

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
        if self.ensemble is None:
            del plain["ensemble"]
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
        own = {key: value for key, value in plain.items() if key not in ("format", "iterations")}
        try:
            manifest: Self = typed(cls, own)
            manifest.check()
        except ValueError as error:
            raise ValueError(f"{where} is damaged ({error}); make it again") from error
        return manifest

    def check(self) -> None:
        """Raise ValueError where the manifest contradicts itself."""
        shape = self.sample_shape
        if not shape or min(shape) < 1:
            raise ValueError(f"sample_shape is {list(shape)}, not of a sample")
        if self.condition_size < 0:
            raise ValueError(f"condition_size is {self.condition_size}, below 0")
        if self.columns not in (("inputs",), ("inputs", "labels")):
            raise ValueError(f"columns are {list(self.columns)}, not those of its samples")
        if self.grid is not None:
            self._check_field()
        for task in self.tasks:
            counts = (task.train, task.test, task.validation)
            if min(counts) < 0:
                raise ValueError(f"{task.name} has {', '.join(map(str, counts))} samples")
            if task.normalisation.mean.size != shape[0]:
                raise ValueError(f"{task.name} is normalised by other components than {shape[0]}")
            if not {*task.held_out, *task.validation_iterations} <= set(task.iterations):
                raise ValueError(f"{task.name} holds out iterations that it has not")
            if set(task.held_out) & set(task.validation_iterations):
                raise ValueError(f"{task.name} has iterations to test with and to select by alike")

    def _check_field(self) -> None:
        grid, axes = self.grid, len(self.sample_shape) - 1
        assert grid is not None
        lengths = [grid.shape, grid.spacing, grid.origin, grid.axis_labels, self.chunk or ()]
        lengths += list(self.origins.values())
        if {len(values) for values in lengths} != {axes}:
            raise ValueError(f"grid, chunk and origins are not all of {axes} axes")
        if len(self.components) != self.sample_shape[0] or self.chunk != self.sample_shape[1:]:
            raise ValueError("components and chunk are not those of sample_shape")
        if len(self.units) != len(self.components):
            raise ValueError(f"there are {len(self.units)} units of {len(self.components)}")
        if not all(math.isfinite(x) and x > 0 for x in grid.spacing):
            raise ValueError(f"grid.spacing is {list(grid.spacing)}; expected lengths above 0")
        if any(points < 1 for points in grid.shape):
            raise ValueError(f"grid.shape is {list(grid.shape)}")


def _listed(value: Any) -> Any:
    """Turn tuples into lists, as JSON does, so that both ways of storing are alike."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value
