"""Labelled samples in memory: points and images have this in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.common.errors import UserError
from pipelines.common.schema import Data, LabelSplit, Transit
from pipelines.data.kind import Kind, SavedSource, StoredStream

if TYPE_CHECKING:
    from insituml.data.samples import Samples, SampleTask
    from insituml.data.windows import TaskWindows
    from insituml.stream import Description, Source


class LabelledSamples(Kind):
    """Abstract: a data set that is stored as arrays, and streamed by replaying it in order."""

    def save(self, data: Data, source: Samples, folder: Path) -> SavedSource:
        arrays = {name: values for name, values in vars(source).items() if values is not None}
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values)
        return SavedSource(arrays=list(arrays))

    def open(self, data: Data, raw: Path, saved: SavedSource) -> StoredStream:
        from insituml.data.samples import Samples
        from insituml.stream import SampleStream

        arrays = {n: np.load(raw / f"{n}.npy", mmap_mode="r") for n in saved.arrays}
        samples = Samples(**arrays)
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


def _tasks(data: Data, samples: Samples) -> list[SampleTask]:
    from insituml.data.samples import tasks_by_label, tasks_in_time

    split = data.split
    if isinstance(split, LabelSplit):
        return tasks_by_label(samples, split.groups, split.holdout, split.seed)
    return tasks_in_time(samples, split.tasks, split.holdout, split.seed)
