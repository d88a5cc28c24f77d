"""How a learner's samples are made of a field: what its checkpoint says of chunks and scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from insituml.data.chunks import assemble, chunk_places, chunk_volume
from insituml.data.manifest import Manifest
from insituml.data.normalisation import Normalisation
from insituml.data.step import joint_unit
from insituml.learner import ContinualLearner


@dataclass(frozen=True, eq=False)
class FieldCode:
    """What turns a raw field into the samples that a learner was trained on, and back.

    Parameters
    ----------
    components, units
        Of the field that was learned, a unit each.
    chunk
        Points of one sample along each axis.
    spacing
        Distance between these points along each axis, in metres.
    task
        The task whose normalisation is used.
    normalisation
        That of the samples.
    """

    components: tuple[str, ...]
    units: tuple[str, ...]
    chunk: tuple[int, ...]
    spacing: tuple[float, ...]
    task: int
    normalisation: Normalisation

    @classmethod
    def of(cls, learner: ContinualLearner, task: int | None = None) -> Self:
        """Read it from a learner's metadata.

        Parameters
        ----------
        learner
            From :func:`insituml.load_checkpoint`.
        task
            Whose normalisation to use; None: the last one that the learner was trained through,
            or the first one if it is untrained.

        Raises
        ------
        ValueError
            If the learner says nothing of its data, they are no field, or have no such task.
        """
        plain = learner.metadata.get("manifest")
        if not plain:
            raise ValueError(
                f"this {type(learner).__name__} does not say what data it was trained on; load a "
                "checkpoint of the pipeline, or save it with learner.save_checkpoint(path, name, "
                "task, manifest=TaskFiles.open(folder).manifest)"
            )
        manifest = Manifest.from_plain(plain, "the checkpoint's manifest")
        if manifest.grid is None or manifest.chunk is None:
            raise ValueError(
                f"this learner was trained on {manifest.kind} ({manifest.name}), not on a field; "
                "choose a checkpoint of data such as lwfa, pic or openpmd"
            )
        learned = learner.metadata.get("task", -1)
        chosen = max(learned, 0) if task is None else task
        if not 0 <= chosen < len(manifest.tasks):
            raise ValueError(
                f"the checkpoint describes {len(manifest.tasks)} task(s), counted from 0, and none "
                f"with number {chosen}; "
                + ("choose another task" if manifest.tasks else "choose one after a task")
            )
        return cls(
            components=manifest.components,
            units=manifest.units,
            chunk=manifest.chunk,
            spacing=manifest.grid.spacing,
            task=chosen,
            normalisation=manifest.tasks[chosen].normalisation,
        )

    def check(self, volume: np.ndarray) -> None:
        """Raise ValueError unless this is a volume as it was learned, of any size."""
        axes = len(self.chunk)
        if volume.ndim != 1 + axes or len(volume) != len(self.components) or 0 in volume.shape:
            raise ValueError(
                f"a volume of shape {volume.shape} arrived; expected ({len(self.components)}, "
                f"{', '.join(f'n{axis}' for axis in range(axes))}): the components "
                f"{', '.join(self.components)} in {joint_unit(self.units)}, then {axes} axes of "
                "any length"
            )
        for name, values in zip(self.components, volume, strict=True):
            if not np.isfinite(values).all():
                wrong = int(np.count_nonzero(~np.isfinite(values)))
                raise ValueError(
                    f"{name} is NaN or infinite at {wrong} of {values.size} points; mend them "
                    "first: one such point would spoil its whole chunk"
                )

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """Return the chunks of a volume in its unit, ``(n_chunks, components, *chunk)``.

        What is missing to whole chunks is filled with the values at the far edges.
        """
        padded = self._padded(volume.shape[1:])
        missing = [after - n for after, n in zip(padded, volume.shape[1:], strict=True)]
        if any(missing):
            volume = np.pad(volume, [(0, 0), *((0, n) for n in missing)], mode="edge")
        return chunk_volume(volume, self.chunk)

    def join(self, chunks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the volume ``(components, *shape)`` that :meth:`cut` made these chunks of.

        Raises
        ------
        ValueError
            If they are not as many as such a volume has.
        """
        padded = self._padded(shape)
        volume = assemble(chunks, chunk_places(padded, self.chunk), padded)
        return volume[:, *(slice(n) for n in shape)]

    def _padded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the smallest shape that the chunk divides and that holds this one."""
        return tuple(-(-n // size) * size for n, size in zip(shape, self.chunk, strict=True))
