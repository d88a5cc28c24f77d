"""What becomes of the steps of a stream: their task, their samples, and which are held out."""

from __future__ import annotations

import hashlib
import json
import shutil
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insituml.data.chunks import chunk_places, chunk_volume
from insituml.data.normalisation import Normalisation, RunningMoments
from insituml.data.step import Step
from insituml.in_transit.windows import TaskWindows
from insituml.stream.source import Description
from pipelines.common.errors import UserError
from pipelines.common.schema import Data, LabelSplit, Transit
from pipelines.common.task_files import STREAM, digest_of_files, task_folder, write_json
from pipelines.transit.held_out import HeldOut

if TYPE_CHECKING:
    from insituml.data.task import Batch

NORMALISATION = "normalisation.json"


@dataclass(frozen=True)
class Samples:
    """The samples of one step; None where it is held out."""

    iteration: int
    task: int
    batch: Batch | None


class StreamedTasks:
    """Cuts the steps of a stream into samples, normalises them, and keeps held-out ones aside.

    Parameters
    ----------
    data, transit
        Sections of the configuration.
    description
        Of the stream.

    Raises
    ------
    UserError
        If the stream cannot be cut as configured.
    """

    def __init__(self, data: Data, transit: Transit, description: Description) -> None:
        split, grid = data.split, description.grid
        if isinstance(split, LabelSplit) or split.holdout is None:
            raise UserError(
                "a stream of fields is cut in time, a part of it held out; set data.split.by=time "
                "and data.split.holdout to that part, such as 0.2"
            )
        if split.normalisation != "first_task":
            raise UserError(
                f"data.split.normalisation is {split.normalisation}; a stream is normalised by its "
                "first steps: set it to first_task, and transit.normalisation_steps to their number"
            )
        self.iterations = _iterations(transit, description)
        self.chunk = tuple(split.chunk or grid.shape)
        try:
            self.places = chunk_places(grid.shape, self.chunk)
            self.windows = TaskWindows(self.iterations, split.tasks, split.holdout)
        except ValueError as error:
            raise UserError(f"data={data.name}: {error}") from error
        self.description = description
        self.facts = {
            "name": f"{data.name} in transit",
            "kind": data.kind,
            "in_transit": True,
            "columns": ["inputs"],
            "sample_shape": [len(description.components), *self.chunk],
            "condition_size": 0,
            "components": list(description.components),
            "unit": description.unit,
            "grid": asdict(grid),
            "iterations": list(self.iterations),
        }
        self.fingerprint = _digest(
            {**self.facts, "source": data.source, "split": split.model_dump()},
            transit.normalisation_steps,
            transit.held_out_bytes,
        )
        step_bytes = 4 * int(np.prod(description.shape))
        self._held_out_room = (transit.held_out_bytes, step_bytes, split.seed)
        self._most_measured = transit.normalisation_steps
        self._moments = RunningMoments(len(description.components))
        self._measured = 0
        self._measured_task = 0
        self._waiting: list[tuple[int, np.ndarray]] = []
        self.normalisation: Normalisation | None = None

    def keep_in(self, folder: Path) -> None:
        """Say where to keep what must outlive an interruption; what lies there is taken up.

        Raises
        ------
        UserError
            If the budget for held-out steps has no room for one of each task.
        """
        self.folder = folder
        self.held_out = HeldOut(folder / "held_out", len(self.windows), *self._held_out_room)
        self.normalisation = _read_normalisation(folder)

    @property
    def pending(self) -> bool:
        """Whether steps wait here until the normalisation is known."""
        return bool(self._waiting)

    @property
    def most_waiting(self) -> int:
        """How many steps wait here at most until the normalisation is known."""
        steps = self.count_through(self.windows.last[0])
        trained = [k for k in range(steps) if self.iterations[k] not in self.windows.held_out]
        return min([steps, *(k + 1 for k in trained[(self._most_measured or steps) - 1 :])])

    def count_between(self, first: int, last: int) -> int:
        """Return how many steps of the tasks are among these iterations, both included."""
        return bisect_right(self.iterations, last) - bisect_left(self.iterations, first)

    def count_through(self, iteration: int) -> int:
        """Return how many steps of the tasks are through with this iteration."""
        return bisect_right(self.iterations, iteration)

    def take(self, step: Step) -> Iterator[Samples]:
        """Cut a step; what follows from it may be several steps' samples, or none as yet."""
        task = self.windows.task_of(step.iteration)
        if self._measured and task != self._measured_task:  # that is over, however few came
            yield from self.rest()
        chunks = chunk_volume(step.values, self.chunk)
        if self.normalisation is not None:
            yield self._samples(step.iteration, chunks)
            return
        self._waiting.append((step.iteration, chunks))
        if step.iteration not in self.windows.held_out:
            self._moments.update(chunks)
            self._measured += 1
            self._measured_task = task
        if self._measured == self._most_measured:
            yield from self.rest()

    def rest(self) -> Iterator[Samples]:
        """Normalise by what has come so far, and yield the steps that waited for it.

        Held-out steps alone go on waiting: they say nothing about training.
        """
        if self.normalisation is None:
            if not self._measured:
                return
            self.normalisation = self._moments.normalisation()
            _write_normalisation(self.folder, self.normalisation)
        waiting, self._waiting = self._waiting, []
        for iteration, chunks in waiting:
            yield self._samples(iteration, chunks)

    def _samples(self, iteration: int, chunks: np.ndarray) -> Samples:
        import torch

        assert self.normalisation is not None
        task = self.windows.task_of(iteration)
        samples = self.normalisation.apply(chunks)
        if iteration in self.windows.held_out:
            self.held_out.add(task, iteration, samples)
            return Samples(iteration, task, None)
        return Samples(iteration, task, (torch.from_numpy(samples),))

    def write_plan(self, folder: Path) -> None:
        """Write ``stream.json`` with what is to come, for who looks at a running stream."""
        tasks = [
            {"name": self.windows.name(k), "train": 0, "test": 0} for k in range(len(self.windows))
        ]
        write_json(folder / STREAM, {**self.facts, "tasks": tasks, "fingerprint": self.fingerprint})

    def write(
        self, folder: Path, tasks: Sequence[int], trained: dict[int, int]
    ) -> list[dict[str, Any]]:
        """Write the held-out samples as the split stage lays them out.

        Parameters
        ----------
        folder
            Replaced as a whole.
        tasks
            Those that were learned and have held-out steps; in the files they are numbered on.
        trained
            Samples trained on, by task.

        Returns
        -------
        list
            What stands in ``stream.json`` about each task.
        """
        if folder.exists():
            shutil.rmtree(folder)
        assert self.normalisation is not None
        number = {iteration: k for k, iteration in enumerate(self.iterations)}
        infos = []
        for k, task in enumerate(tasks):
            steps, kept = self.held_out.steps(task), self.held_out.iterations(task)
            target = task_folder(folder, k)
            target.mkdir(parents=True)
            np.save(target / "test_inputs.npy", steps.reshape(-1, *steps.shape[2:]))
            places = [
                np.column_stack([np.full(len(self.places), number[i]), self.places]) for i in kept
            ]
            np.save(target / "test_places.npy", np.concatenate(places))
            infos.append(
                {
                    "name": self.windows.name(task),
                    "held_out_steps": [number[i] for i in kept],
                    "train": trained[task],
                    "test": len(kept) * len(self.places),
                    "normalisation": {
                        "mean": self.normalisation.mean.tolist(),
                        "std": self.normalisation.std.tolist(),
                    },
                }
            )
        files = sorted(folder.rglob("*.npy"))
        info = {
            **self.facts,
            "tasks": infos,
            "fingerprint": self.fingerprint,
            "held_out_digest": digest_of_files(files),
        }
        write_json(folder / STREAM, info)
        return infos


def _iterations(transit: Transit, description: Description) -> Sequence[int]:
    if transit.iterations is not None:
        first, last, period = transit.iterations
        if period < 1 or last <= first:
            raise UserError(
                f"transit.iterations is {transit.iterations}; expected [first,last,period], such "
                "as [0,5000,100]"
            )
        return range(first, last + 1, period)
    if description.iterations is None:
        raise UserError(
            "the producer does not say which iterations it will write; say which the tasks cover: "
            "transit.iterations=[first,last,period], such as [0,5000,100]"
        )
    return description.iterations


def _digest(*content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_normalisation(folder: Path) -> Normalisation | None:
    path = folder / NORMALISATION
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    return Normalisation(*(np.array(content[key]) for key in ("mean", "std")))


def _write_normalisation(folder: Path, normalisation: Normalisation) -> None:
    content = {"mean": normalisation.mean.tolist(), "std": normalisation.std.tolist()}
    write_json(folder / NORMALISATION, content)
