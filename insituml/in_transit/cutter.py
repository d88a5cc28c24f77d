"""From a step to normalised samples with their places: the same for a file and for a stream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from insituml.data.blocks import Block
from insituml.data.chunks import chunk_places, chunk_volume
from insituml.data.manifest import Manifest, TaskInfo
from insituml.data.normalisation import Normalisation, RunningMoments
from insituml.data.step import Step
from insituml.data.task_files import Columns
from insituml.data.windows import Window
from insituml.stream.source import Description


class Cutter:
    """Cuts the steps of one stream into samples, and measures what normalises them.

    A field is cut into chunks; samples are taken as they are.

    Parameters
    ----------
    description
        Of the stream.
    chunk
        Points of a chunk along each axis of a field; None: the whole volume is one sample.
    conditions
        Parameters of the simulation that each sample of a field has as its label.

    Raises
    ------
    ValueError
        If the chunk does not divide the grid, or the stream is of samples and there is a chunk.
    """

    def __init__(
        self,
        description: Description,
        chunk: Sequence[int] | None = None,
        *,
        conditions: Sequence[str] = (),
    ) -> None:
        self.description = description
        self.conditions = tuple(conditions)
        self.chunk: tuple[int, ...] | None = None
        if description.grid is not None:
            self.chunk = tuple(chunk or description.grid.shape)
            self.places = chunk_places(description.grid.shape, self.chunk)
            components = len(description.components)
            self.sample_shape = (components, *self.chunk)
        else:
            if chunk is not None:
                raise ValueError(f"chunk is {list(chunk)}, but only a field is cut into chunks")
            assert description.samples is not None
            self.sample_shape = description.samples.input_shape
        self.block: Block | None = None
        """What the steps hold of the grid, of whole chunks; None: all."""
        self.moments = RunningMoments(self.sample_shape[0])
        """Of what was measured."""

    @property
    def samples_per_iteration(self) -> int:
        """Samples that an iteration holds at most."""
        layout = self.description.samples
        return len(self.places) if layout is None else layout.rows

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of one sample with its place or its label."""
        beside = 4 * self.condition_size
        beside += 0 if self.chunk is None else 8 * (1 + len(self.chunk))
        return 4 * math.prod(self.sample_shape) + beside

    @property
    def measured(self) -> bool:
        """Whether there is anything to normalise by."""
        return self.moments.count > 0

    def cut(self, step: Step) -> Columns:
        """Return copies of a step's samples, not normalised.

        Returns
        -------
        dict
            ``inputs`` ``(n, components, ...)``; and of a field ``places`` ``(n, 1 + axes)``, the
            iteration and where each chunk begins; of samples their ``labels``.
        """
        if self.chunk is None:
            assert step.labels is not None
            return {"inputs": np.array(step.values), "labels": np.array(step.labels)}
        places = self.places
        if self.block is not None:
            places = places[self.block.holds(places)]
        iteration = np.full(len(places), step.iteration)
        columns = {
            "inputs": chunk_volume(step.values, self.chunk),
            "places": np.column_stack([iteration, places]),
        }
        if self.conditions:
            values = [step.metadata["parameters"][name] for name in self.conditions]
            columns["labels"] = np.tile(np.array(values, np.float32), (len(places), 1))
        return columns

    def measure(self, columns: Columns) -> None:
        """Take samples into the statistics."""
        self.moments.update(columns["inputs"])

    def normalisation(self) -> Normalisation:
        """Return the normalisation by all that was measured so far."""
        return self.moments.normalisation()

    @property
    def condition_size(self) -> int:
        """Numbers in the label of one sample; 0: there are no labels."""
        layout = self.description.samples
        return len(self.conditions) if layout is None else math.prod(layout.label_shape)

    def task_arrays(self, task: int) -> dict[str, np.ndarray]:
        """Return what else belongs to a task, by name: the order of its pixels, where permuted."""
        layout = self.description.samples
        if layout is None or layout.pixel_orders is None:
            return {}
        return {"pixel_order": layout.pixel_orders[task]}

    def task_info(
        self,
        window: Window,
        normalisation: Normalisation,
        *,
        train: int,
        test: int,
        validation: int = 0,
        times: Mapping[int, float],
    ) -> TaskInfo:
        """Describe a task; of its iterations, those that have come and could be learned from.

        Samples are replayed in blocks, whose numbers mean nothing: their tasks name none.

        Parameters
        ----------
        window
            Its iterations.
        normalisation
            Of its samples.
        train, test, validation
            Number of samples to learn from, held out to test with, and to select by.
        times
            Physical time of each iteration that came, in seconds.
        """
        of_a_field = self.description.samples is None
        seen = [n for n in window.iterations if n in times] if of_a_field else []
        return TaskInfo(
            window.name,
            train,
            test,
            normalisation,
            iterations=tuple(seen),
            held_out=tuple(n for n in seen if n in window.held_out),
            validation=validation,
            validation_iterations=tuple(n for n in seen if n in window.validation),
        )

    def manifest(
        self,
        tasks: Sequence[TaskInfo],
        *,
        name: str,
        kind: str,
        in_transit: bool,
        times: Mapping[int, float],
        origins: Mapping[int, tuple[float, ...]],
        fingerprint: str,
        configuration: Mapping[str, Any],
    ) -> Manifest:
        """Return what the samples mean; see :class:`~insituml.data.manifest.Manifest`."""
        layout = self.description.samples
        return Manifest(
            name=name,
            kind=kind,
            in_transit=in_transit,
            columns=("inputs", "labels") if layout or self.conditions else ("inputs",),
            sample_shape=self.sample_shape,
            condition_size=self.condition_size,
            components=self.description.components,
            unit=self.description.unit,
            units=self.description.units,
            grid=self.description.grid,
            chunk=self.chunk,
            permuted=layout is not None and layout.pixel_orders is not None,
            tasks=tuple(tasks),
            times=dict(times) if layout is None else {},
            origins=dict(origins),
            fingerprint=fingerprint,
            configuration=dict(configuration),
        )


def normalised(columns: Columns, normalisation: Normalisation) -> Columns:
    """Return the columns with normalised inputs."""
    return {**columns, "inputs": normalisation.apply(columns["inputs"])}
