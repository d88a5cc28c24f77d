"""A stream that is open, and where its iterations belong."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.schema import Data, Transit
from insituml_pipelines.common.task_files import IDENTIFYING, facts_of

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.task import Batch
    from insituml.data.windows import TaskWindows
    from insituml.in_transit import Arrivals, Cutter
    from insituml.stream import Description


MOST_ITERATIONS = 1_000_000
"""That tasks are laid out for."""


@dataclass(frozen=True)
class StreamedTasks:
    """How a stream becomes tasks.

    Parameters
    ----------
    data, transit
        Sections of the configuration.
    cutter, windows
        What its iterations are cut by, and which task each is of.
    fingerprint
        Of all that its samples depend on.
    """

    data: Data
    transit: Transit
    cutter: Cutter
    windows: TaskWindows
    fingerprint: str

    @property
    def facts(self) -> Node:
        """Return what the configuration may refer to as ``stream``."""
        cutter = self.cutter
        return facts_of(len(self.windows), cutter.sample_shape, cutter.condition_size)

    def example(self) -> Batch:
        """Return two samples of zeros, of the shapes and types of those to come."""
        import torch

        layout = self.cutter.description.samples
        inputs = torch.zeros(2, *self.cutter.sample_shape)
        if layout is None:
            size = self.cutter.condition_size
            return (inputs, torch.zeros(2, size)) if size else (inputs,)
        labels = torch.zeros(2, *layout.label_shape, dtype=getattr(torch, layout.label_dtype))
        return (inputs, labels)

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 4 * math.prod(self.cutter.sample_shape)

    def arrivals(self, folder: Path) -> Arrivals:
        """Return what takes in the iterations, held-out ones kept below ``folder``.

        Raises
        ------
        UserError
            If the budget for held-out samples has no room for one iteration of each task.
        """
        from insituml.in_transit import Arrivals, HeldOut

        try:
            held_out, validation = (
                HeldOut(
                    len(self.windows),
                    self.transit.held_out_bytes,
                    self.cutter.samples_per_iteration * self.sample_bytes,
                    self.data.split.seed,
                    folder / name,
                )
                for name in ("held_out", "validation")
            )
        except ValueError as error:
            raise UserError(f"transit.held_out_bytes: {error}") from error
        return Arrivals(
            self.cutter,
            self.windows,
            held_out,
            validation=validation if self.windows.validation else None,
            normalise_by=self.transit.normalisation_iterations,
        )

    def manifest(
        self, arrivals: Arrivals, tasks: Sequence[int], trained: dict[int, int]
    ) -> Manifest:
        """Return what the samples of these tasks mean, ``trained`` of each having been learned."""
        return self.cutter.manifest(
            [arrivals.info(task, trained.get(task, 0)) for task in tasks],
            name=self.data.name,
            kind=self.data.kind,
            in_transit=True,
            times=arrivals.times,
            origins=arrivals.origins,
            fingerprint=self.fingerprint,
            configuration=self.data.model_dump(include=set(IDENTIFYING)),
        )


def streamed_tasks(
    data: Data, transit: Transit, description: Description, conditions: Sequence[str] = ()
) -> StreamedTasks:
    """Lay out the tasks of a stream; samples of a field are given the parameters ``conditions``.

    Raises
    ------
    UserError
        If it cannot be cut as configured.
    """
    from insituml.in_transit import Cutter
    from insituml_pipelines.data.kinds import kind_of

    if data.split.normalisation != "first_task":
        raise UserError(
            f"data.split.normalisation is {data.split.normalisation}; a stream is normalised by "
            "its first iterations: set it to first_task, and transit.normalisation_iterations to "
            "their number"
        )
    given = _iterations(transit)
    if given is None and description.iterations is None:
        raise UserError(
            "the producer does not say which iterations it will write; say which the tasks cover: "
            "transit.iterations=[first,last,period], such as [0,5000,100]"
        )
    try:
        windows = kind_of(data).windows(data, description, given)
        cutter = Cutter(description, data.split.chunk, conditions=conditions)
    except ValueError as error:
        raise UserError(f"data={data.name}: {error}") from error
    fingerprint = digest_of(
        data.source,
        data.split.model_dump(),
        list(cutter.sample_shape),
        description.components,
        description.unit,
        windows.iterations,
        transit.normalisation_iterations,
        transit.held_out_bytes,
        transit.samples_per_iteration,
    )
    return StreamedTasks(data, transit, cutter, windows, fingerprint)


def _iterations(transit: Transit) -> range | None:
    if transit.iterations is None:
        return None
    from insituml.data.windows import LARGEST_ITERATION

    first, last, period = transit.iterations
    if period < 1 or not 0 <= first < last:
        raise UserError(
            f"transit.iterations is {transit.iterations}; expected [first,last,period], such "
            "as [0,5000,100]"
        )
    if last > LARGEST_ITERATION or (count := (last - first) // period + 1) > MOST_ITERATIONS:
        raise UserError(
            f"transit.iterations is {transit.iterations}, "
            + (f"{count:,} iterations" if last <= LARGEST_ITERATION else "beyond 64-bit integers")
            + f"; expected at most {MOST_ITERATIONS:,} iterations: give the period of the output"
        )
    return range(first, last + 1, period)


def digest_of(*content: Any) -> str:
    """Return the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
