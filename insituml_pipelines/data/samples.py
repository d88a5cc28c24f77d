"""Labelled samples in memory: points and images have this in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import ask_for_room
from insituml_pipelines.common.schema import Data, LabelSplit, Transit
from insituml_pipelines.data.kind import Kind, SavedSource, StoredStream
from insituml_pipelines.data.stored import AGAIN

if TYPE_CHECKING:
    from insituml.data.samples import Samples, SampleTask
    from insituml.data.windows import TaskWindows
    from insituml.stream import Description, Source

NEEDED = frozenset({"inputs", "labels", "iterations"})


class LabelledSamples(Kind):
    """Abstract: a data set that is stored as arrays, and streamed by replaying it in order."""

    def save(self, data: Data, source: Samples, folder: Path) -> SavedSource:
        arrays = {name: values for name, values in vars(source).items() if values is not None}
        sizes = [values.nbytes for values in arrays.values()]
        ask_for_room(folder, sum(sizes), max(sizes), "generate: the samples")
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values)
        return SavedSource(arrays=list(arrays))

    def open(self, data: Data, raw: Path, saved: SavedSource) -> StoredStream:
        from insituml.data.samples import Samples
        from insituml.safe_reading import map_npy
        from insituml.stream import SampleStream

        names = set(saved.arrays)
        if not NEEDED <= names <= NEEDED | {"held_out", "pixel_orders"}:
            there = ", ".join(saved.arrays)[:80] or "none"
            raise UserError(
                f"{raw} holds the arrays {there}, but data={data.name} are {data.kind}, which need "
                f"{', '.join(sorted(NEEDED))}; {AGAIN}"
            )
        try:
            samples = Samples(**{name: map_npy(raw / f"{name}.npy") for name in saved.arrays})
        except FileNotFoundError as error:
            raise UserError(f"{error.filename} is missing; {AGAIN}") from error
        _check(samples, raw)
        return SampleStream(samples, _tasks(data, samples))

    def stream(self, data: Data, source: Samples, transit: Transit) -> Source:
        from insituml.stream import SampleStream

        return SampleStream(source, _tasks(data, source), transit.samples_per_iteration)

    def windows(
        self, data: Data, description: Description, iterations: Sequence[int] | None = None
    ) -> TaskWindows:
        if iterations is not None:
            raise UserError(
                f"transit.iterations is for streams of fields; data={data.name} says itself which "
                "iterations there are: leave it at null"
            )
        assert description.samples is not None
        return description.samples.windows


def _check(samples: Samples, raw: Path) -> None:
    """Refuse arrays that do not belong together."""
    count = len(samples.inputs)
    numbers = samples.iterations
    if (
        not count
        or samples.inputs.dtype != np.float32
        or len(samples.labels) != count
        or numbers.shape != (count,)
        or numbers.dtype.kind != "i"
        or not 0 <= numbers.min() <= numbers.max() < count
        or (samples.held_out is not None and samples.held_out.shape != (count,))
    ):
        raise UserError(f"the arrays in {raw} are not those of one data set; {AGAIN}")


def _tasks(data: Data, samples: Samples) -> list[SampleTask]:
    from insituml.data.samples import tasks_by_label, tasks_in_time

    split = data.split
    if isinstance(split, LabelSplit):
        return tasks_by_label(samples, split.groups, split.holdout, split.seed, split.validation)
    return tasks_in_time(samples, split.tasks, split.holdout, split.seed, split.validation)
