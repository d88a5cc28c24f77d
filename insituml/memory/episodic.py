"""Episodic memory: an equal share of samples for each past task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from insituml.data.task import Batch
from insituml.memory.storage import SampleStorage, draw_without_replacement, own_generator


class EpisodicMemory:
    """Samples of the last tasks, each task with an equal share of the capacity.

    Parameters
    ----------
    total_mem_size
        Samples in all, over all tasks.
    total_tasks
        Tasks that share the capacity. A further task evicts the oldest.
    gradient_ref_data_size
        Samples that :meth:`reference` draws; 0: all that is stored.
    generator
        Chooses which samples are stored and drawn; None: its own, with seed 0.

    Raises
    ------
    ValueError
        If a size is negative or zero, or the share of a task is no sample at all.
    """

    def __init__(
        self,
        total_mem_size: int,
        total_tasks: int,
        gradient_ref_data_size: int = 0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        if total_tasks < 1:
            raise ValueError(f"total_tasks is {total_tasks}; expected 1 or more")
        if total_mem_size < total_tasks:
            raise ValueError(
                f"total_mem_size is {total_mem_size} for {total_tasks} tasks: not one sample a "
                "task; expected at least as many samples as tasks"
            )
        if gradient_ref_data_size < 0:
            raise ValueError(
                f"gradient_ref_data_size is {gradient_ref_data_size}; expected 0 (all) or more"
            )
        self.total_mem_size = total_mem_size
        self.total_tasks = total_tasks
        self.gradient_ref_data_size = gradient_ref_data_size
        self.generator = own_generator(generator)
        self.tasks_seen = 0
        """Tasks stored so far, evicted ones included."""
        self._storage = SampleStorage(total_mem_size)
        # The share of slot s is rows [s·size/tasks, (s+1)·size/tasks): no row is left over.
        edges = [slot * total_mem_size // total_tasks for slot in range(total_tasks + 1)]
        self._first_rows, self._end_rows = edges[:-1], edges[1:]
        self._filled = [0] * total_tasks
        self._stored_rows = self._all_rows()

    def store_task(self, samples: Batch) -> None:
        """Store a random share of a task just learned, evicting the oldest when full.

        Parameters
        ----------
        samples
            Tensors with the samples along the first dimension; all of them when they fit.
        """
        slot = self.tasks_seen % self.total_tasks
        share = self._end_rows[slot] - self._first_rows[slot]
        chosen = draw_without_replacement(len(samples[0]), share, self.generator)
        rows = self._first_rows[slot] + torch.arange(len(chosen))
        self._storage.write(rows, samples, chosen)
        self._filled[slot] = len(chosen)
        self.tasks_seen += 1
        self._stored_rows = self._all_rows()

    def __len__(self) -> int:
        """Return the number of samples stored."""
        return sum(self._filled)

    def counts(self) -> dict[int, int]:
        """Return how many samples each task still stored has, oldest first."""
        oldest = max(0, self.tasks_seen - self.total_tasks)
        return {
            task: self._filled[task % self.total_tasks] for task in range(oldest, self.tasks_seen)
        }

    def all(self) -> Batch:
        """Return every stored sample, oldest task first."""
        return self._storage.read(self._stored_rows)

    def reference(self) -> Batch:
        """Return a random sample of the whole memory (A-GEM's reference data)."""
        return self._storage.read(self._draw(self._stored_rows))

    def reference_of_one_task(self) -> Batch:
        """Return a random sample of one stored task, itself chosen at random (S-GEM's)."""
        tasks = list(self.counts())
        if not tasks:
            raise ValueError("the memory is empty; call store_task(samples) first")
        chosen = int(torch.randint(len(tasks), (), generator=self.generator))
        return self.reference_of(tasks[chosen])

    def reference_of(self, task: int) -> Batch:
        """Return a random sample of one stored task, a key of :meth:`counts` (GEM's)."""
        return self._storage.read(self._draw(self._rows(task)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "storage": self._storage.state_dict(),
            "filled": list(self._filled),
            "tasks_seen": self.tasks_seen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._storage.load_state_dict(state["storage"])
        self._filled = list(state["filled"])
        self.tasks_seen = state["tasks_seen"]
        self._stored_rows = self._all_rows()

    def _all_rows(self) -> Tensor:
        none = torch.empty(0, dtype=torch.int64)
        return torch.cat([none, *(self._rows(task) for task in self.counts())])

    def _rows(self, task: int) -> Tensor:
        slot = task % self.total_tasks
        return self._first_rows[slot] + torch.arange(self._filled[slot])

    def _draw(self, rows: Tensor) -> Tensor:
        if self.gradient_ref_data_size == 0:
            return rows
        size = self.gradient_ref_data_size
        return rows[draw_without_replacement(len(rows), size, self.generator)]


class EpisodicMemoryDataset(TensorDataset):
    """The samples an :class:`EpisodicMemory` holds now, as a data set.

    Parameters
    ----------
    memory
        Read once; later changes of the memory do not show here.

    Raises
    ------
    ValueError
        If nothing is stored yet.
    """

    def __init__(self, memory: EpisodicMemory) -> None:
        if len(memory) == 0:
            raise ValueError("the memory is empty; call memory.store_task(samples) first")
        super().__init__(*memory.all())
