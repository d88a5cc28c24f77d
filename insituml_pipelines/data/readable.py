"""A field without the iterations that cannot be read, which are named, or refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import say
from insituml_pipelines.common.schema import Data

if TYPE_CHECKING:
    from insituml.data.step import Step


class ReadableField:
    """A source of fields that leaves out odd iterations where ``data.split.on_bad_iteration`` says.

    Parameters
    ----------
    source
        Any source of fields.
    data
        Section of the configuration.
    stage
        That messages begin with.
    finite
        Whether iterations with NaN, or of another shape, are odd too.

    Raises
    ------
    UserError
        Iterating, at an odd iteration that is not to be left out.
    """

    def __init__(self, source: Any, data: Data, stage: str, *, finite: bool) -> None:
        from insituml.stream import FieldStream

        self._stream = FieldStream(source)
        self._description = self._stream.describe()
        self._data = data
        self._stage = stage
        self._finite = finite
        self._left_out: set[int] = set()
        self.components = self._description.components
        self.unit = self._description.unit
        self.units = self._description.units
        self.grid = source.grid

    @property
    def iteration_numbers(self) -> list[int]:
        """The source's number of each step that is not known to be odd."""
        return [n for n in self._description.iterations or () if n not in self._left_out]

    def __len__(self) -> int:
        """Return the number of steps: fewer, the more were found to be odd."""
        return len(self.iteration_numbers)

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps that can be read, in order."""
        return self.steps(range(len(self)))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        """Yield those of the steps at these places that can be read."""
        from insituml.stream import Rejected
        from insituml.stream.checks import checked_step

        numbers = self.iteration_numbers
        found = False
        for event in self._stream.steps([numbers[place] for place in places]):
            if self._finite:
                event = checked_step(event, self._description)
            if not isinstance(event, Rejected):
                found = True
                yield event
            elif self._data.split.on_bad_iteration == "fail":
                raise UserError(
                    f"data={self._data.name}: iteration {event.iteration}: {event.reason}; "
                    "data.split.on_bad_iteration=skip leaves such iterations out"
                )
            else:
                self._left_out.add(event.iteration)
                say(f"{self._stage}: iteration {event.iteration} is left out: {event.reason}")
        if not found:
            raise UserError(f"data={self._data.name}: no iteration is left that can be read")
