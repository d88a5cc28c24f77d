"""A whole series as a learner gives it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from insituml.archive.field_code import FieldCode
from insituml.archive.latents import FieldLatents, decode_field, encode_field
from insituml.archive.quantisation import check_storage
from insituml.data.step import FieldSource, Step, joint_unit, units_of
from insituml.learner import ContinualLearner


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """One iteration, and what became of it.

    Parameters
    ----------
    original, restored
        Before and after.
    latents
        In between.
    """

    original: Step
    restored: Step
    latents: FieldLatents


class ReconstructedField:
    """A source of fields, each encoded and decoded as it is asked for.

    Grid, unit, iterations, times and the origins of a moving window are those of the source: it can
    be written (:func:`insituml.data.write_series`) and seen beside the original.

    Parameters
    ----------
    source
        The original.
    learner
        From :func:`insituml.load_checkpoint`.
    task, storage
        As :func:`~insituml.archive.latents.encode_field` takes them.
    report
        Called with the :class:`Reconstruction` of each iteration, before it is yielded.

    Attributes
    ----------
    code
        How the samples of the learner are made of the field.

    Raises
    ------
    ValueError
        If the learner's checkpoint is not of a field, or of other components or another unit, or
        the storage is unknown; and, iterating, as :func:`~insituml.archive.latents.encode_field`,
        with the iteration's number.
    """

    def __init__(
        self,
        source: FieldSource,
        learner: ContinualLearner,
        *,
        task: int | None = None,
        storage: str = "float32",
        report: Callable[[Reconstruction], None] | None = None,
    ) -> None:
        check_storage(storage)
        code = FieldCode.of(learner, task)
        units = units_of(source)
        if (tuple(source.components), units) != (code.components, code.units):
            raise ValueError(
                f"the source has {', '.join(source.components)} in {joint_unit(units)}; the "
                f"checkpoint was trained on {', '.join(code.components)} in "
                f"{joint_unit(code.units)}: choose the same record and components"
            )
        if len(source.grid.shape) != len(code.chunk):
            raise ValueError(
                f"the source's grid {source.grid.shape} has {len(source.grid.shape)} axes; the "
                f"checkpoint was trained on fields of {len(code.chunk)}"
            )
        self.source = source
        self.learner = learner
        self.code = code
        self.storage = storage
        self.components = source.components
        self.unit = source.unit
        self.units = units
        self.grid = source.grid
        self._report = report

    @property
    def iteration_numbers(self) -> list[int]:
        """The source's number of each step."""
        return self.source.iteration_numbers

    def __len__(self) -> int:
        """Return the number of iterations."""
        return len(self.source)

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps in order, holding one in memory at a time."""
        return map(self._restored, self.source)

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        """Yield only the steps at these places."""
        return map(self._restored, self.source.steps(places))

    def _restored(self, step: Step) -> Step:
        try:
            latents = encode_field(
                self.learner, step.values, task=self.code.task, storage=self.storage
            )
        except ValueError as error:
            raise ValueError(f"iteration {step.iteration}: {error}") from error
        restored = replace(step, values=decode_field(self.learner, latents))
        if self._report is not None:
            self._report(Reconstruction(step, restored, latents))
        return restored
