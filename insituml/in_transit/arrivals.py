"""What becomes of the steps of a stream: their task, their samples, and which are held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from insituml import ranks
from insituml.data.blocks import Block, nothing
from insituml.data.manifest import TaskInfo
from insituml.data.normalisation import Normalisation
from insituml.data.step import Step
from insituml.data.task import Batch, Task
from insituml.data.task_files import Columns
from insituml.data.windows import TaskWindows
from insituml.in_transit.cutter import Cutter, normalised
from insituml.in_transit.dealt import Reading, Samples
from insituml.in_transit.held_out import HeldOut


@dataclass(frozen=True)
class Arrival:
    """The samples of one step, on several ranks dealt; None where it is held out."""

    iteration: int
    task: int
    batch: Samples | None


class Arrivals:
    """Cuts the steps of a stream, normalises them by its first ones, and keeps held-out ones aside.

    Parameters
    ----------
    cutter
        Of the stream; nothing measured yet.
    windows
        The tasks.
    held_out
        Where samples to test with go.
    validation
        Where those to select by go; None: they are left aside.
    normalise_by
        Number of training steps that are held in memory until their mean and deviation are known,
        which normalise the whole stream; None: all of the first task that comes.
    """

    def __init__(
        self,
        cutter: Cutter,
        windows: TaskWindows,
        held_out: HeldOut,
        *,
        validation: HeldOut | None = None,
        normalise_by: int | None = None,
    ) -> None:
        self.cutter = cutter
        self.windows = windows
        self.held_out = held_out
        self.validation = validation
        self.normalise_by = normalise_by
        self.normalisation: Normalisation | None = None
        """None until enough has come."""
        self.times: dict[int, float] = {}
        """Physical time of each iteration that came, in seconds."""
        self.origins: dict[int, tuple[float, ...]] = {}
        """Where the first point of each axis lay, of each iteration that said so, in metres."""
        self._reading: Reading | None = None
        self._waiting: list[tuple[int, Columns]] = []
        self._measured = 0
        self._measured_task = 0

    def divide(self, blocks: Sequence[Block] | None) -> None:
        """Hear what each of several ranks reads, all of which take the same steps.

        What :meth:`take` and :meth:`rest` yield is dealt then; they are walked on all ranks at
        once. What is held out goes to the first, which alone keeps it.

        Parameters
        ----------
        blocks
            What the steps of each rank hold; None: the first's hold all, the others' nothing.
        """
        grid, places = self.cutter.description.grid, None
        if grid is not None:
            places = self.cutter.places
            others = None if ranks.rank() == 0 else nothing(len(grid.shape))
            self.cutter.block = others if blocks is None else blocks[ranks.rank()]
        self._reading = Reading(blocks, places)

    @property
    def stores(self) -> dict[str, HeldOut]:
        """What keeps samples aside, by name."""
        stores = {"held_out": self.held_out, "validation": self.validation}
        return {name: store for name, store in stores.items() if store is not None}

    @property
    def pending(self) -> bool:
        """Whether steps wait here until the normalisation is known."""
        return bool(self._waiting)

    @property
    def most_waiting(self) -> int:
        """How many steps wait here at most until the normalisation is known."""
        first = self.windows.windows[0].iterations
        trained = [k for k, number in enumerate(first) if number not in self.windows.aside]
        last = (self.normalise_by or len(first)) - 1
        return min([len(first), *(k + 1 for k in trained[last:])])

    def take(self, step: Step) -> Iterator[Arrival]:
        """Cut a step; what follows from it may be several steps' samples, or none as yet."""
        task = self.windows.task_of(step.iteration)
        self.times[step.iteration] = step.time
        if step.origin is not None:
            self.origins[step.iteration] = step.origin
        if self._measured and task != self._measured_task:  # that is over, however few came
            yield from self.rest()
        columns = self.cutter.cut(step)
        if self.normalisation is not None:
            arrival = self._arrival(step.iteration, columns)
            del columns  # not to be held while its normalised copy is trained on
            yield arrival
            return
        self._waiting.append((step.iteration, columns))
        if step.iteration not in self.windows.aside:
            self.cutter.measure(columns)
            self._measured += 1
            self._measured_task = task
        if self._measured == self.normalise_by:
            yield from self.rest()

    def rest(self) -> Iterator[Arrival]:
        """Normalise by what has come so far, and yield the steps that waited for it.

        Held-out steps alone go on waiting: they say nothing about training.
        """
        if self.normalisation is None:
            if not self._measured:
                return
            moments = self.cutter.moments
            if self._reading is not None:
                moments = self._reading.merged(moments)
            self.normalisation = moments.normalisation()
        waiting, self._waiting = self._waiting, []
        for iteration, columns in waiting:
            yield self._arrival(iteration, columns)

    def info(self, task: int, train: int) -> TaskInfo:
        """Return what is known of a task, of which ``train`` samples were trained on."""
        assert self.normalisation is not None
        test, validation = (
            0 if store is None else sum(len(columns["inputs"]) for columns in store.samples(task))
            for store in (self.held_out, self.validation)
        )
        kept = {n for store in self.stores.values() for n in store.iterations(task)}
        window = self.windows.windows[task]
        # Of the iterations set aside some may have been left out for want of room.
        aside = {*window.held_out, *window.validation}
        others = tuple(n for n in window.iterations if n not in aside or n in kept)
        return self.cutter.task_info(
            replace(window, iterations=others),
            self.normalisation,
            train=train,
            test=test,
            validation=validation,
            times=self.times,
        )

    def held_out_tasks(self) -> list[Task]:
        """Return the tasks of which something was held out, with that and nothing to train on."""
        tasks: list[Task] = []
        for task in range(len(self.windows)):
            if test := _joined(self.held_out, task):
                name, validation = self.windows.name(task), self.validation_samples(task)
                tasks.append(Task(len(tasks), name, (), test, validation=validation))
        return tasks

    def validation_samples(self, task: int) -> Batch:
        """Return what of a task was kept to select by; nothing where there is none."""
        return _joined(self.validation, task) if self.validation is not None else ()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, plain values; only while nothing is :attr:`pending`."""
        scale = self.normalisation
        return {
            "normalisation": scale and {"mean": scale.mean.tolist(), "std": scale.std.tolist()},
            "times": list(self.times.items()),
            "origins": list(self.origins.items()),
            **{name: store.state_dict() for name, store in self.stores.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        scale = state["normalisation"]
        if scale is not None:
            self.normalisation = Normalisation(np.array(scale["mean"]), np.array(scale["std"]))
        self.times = dict(state["times"])
        self.origins = {number: tuple(origin) for number, origin in state["origins"]}
        for name, store in self.stores.items():
            if store.folder is not None:
                store.load_state_dict(state[name])

    def _arrival(self, iteration: int, columns: Columns) -> Arrival:
        assert self.normalisation is not None
        task = self.windows.task_of(iteration)
        columns = normalised(columns, self.normalisation)
        if iteration in self.windows.aside:
            store = self.held_out if iteration in self.windows.held_out else self.validation
            if store is not None:
                self._set_aside(store, task, iteration, columns)
            return Arrival(iteration, task, None)
        names = [name for name in ("inputs", "labels") if name in columns]
        batch = tuple(torch.from_numpy(columns[name]) for name in names)
        return Arrival(iteration, task, self._reading.deal(batch) if self._reading else batch)

    def _set_aside(self, store: HeldOut, task: int, iteration: int, columns: Columns) -> None:
        if self._reading is not None:
            columns = self._reading.to_first(columns)
            if ranks.rank() > 0:
                return
        store.add(task, iteration, columns)


def _joined(store: HeldOut, task: int) -> Batch:
    """Return all that is kept of a task as one batch; nothing where there is none."""
    blocks = list(store.samples(task))
    names = [name for name in ("inputs", "labels") if blocks and name in blocks[0]]
    return tuple(torch.from_numpy(np.concatenate([b[name] for b in blocks])) for name in names)
