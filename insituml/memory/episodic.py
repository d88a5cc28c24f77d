"""Episodic memory: an equal share of samples for each past task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from insituml import ranks
from insituml.data.task import Batch
from insituml.memory.base import Memory
from insituml.memory.draws import draw_without_replacement
from insituml.memory.rows import RowMemory


class EpisodicMemory(RowMemory):
    """At the end of each task, keep a uniform choice of its samples, as many as its share.

    Shares are equal and fixed: they need the number of tasks. What is stored lies in the order of
    the tasks, oldest first.

    Parameters
    ----------
    total_mem_size
        Samples in all, over all tasks; None: ``capacity_bytes`` says how many bytes.
    total_tasks
        Tasks that share the capacity. A further task evicts the oldest.
    gradient_ref_data_size
        Samples that :meth:`reference` draws; 0: all that is stored.
    **options
        Further parameters of :class:`~insituml.memory.rows.RowMemory`.

    Raises
    ------
    ValueError
        If ``total_tasks`` is missing, a size is negative or zero, or the share of a task is no
        sample at all (with ``capacity_bytes``, when the first samples arrive).

    Notes
    -----
    ``store_task``, ``reference``, ``reference_of`` and ``reference_of_one_task`` are the names of
    an older framework, for loops written by hand; the methods call what every memory has.
    """

    def __init__(
        self,
        total_mem_size: int | None = None,
        total_tasks: int | None = None,
        gradient_ref_data_size: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(total_mem_size, **options)
        if total_tasks is None or total_tasks < 1:
            raise ValueError(
                f"total_tasks is {total_tasks}; expected 1 or more, for an episodic memory gives "
                "each task its share beforehand (a quota memory does not)"
            )
        if gradient_ref_data_size < 0:
            raise ValueError(
                f"gradient_ref_data_size is {gradient_ref_data_size}; expected 0 (all) or more"
            )
        self.total_mem_size = total_mem_size
        self.total_tasks = total_tasks
        self.gradient_ref_data_size = gradient_ref_data_size
        self.tasks_seen = 0
        """Tasks stored so far, evicted ones included."""
        self._held: list[int] = []  # samples of each task that is stored, oldest first
        if total_mem_size is not None:
            self._check_share(total_mem_size)

    def store_task(self, samples: Batch | Tensor) -> None:
        """Store a share of a task just learned; tasks are numbered as they come.

        Raises
        ------
        TypeError
            If they are neither columns nor one tensor of inputs.
        """
        samples = (samples,) if isinstance(samples, Tensor) else samples
        if not isinstance(samples, tuple | list) or not all(isinstance(c, Tensor) for c in samples):
            raise TypeError(
                f"store_task was given a {type(samples).__name__}; expected a tuple of tensors "
                "(n, ...), such as (x, labels), or the tensors of a data set, dataset.tensors"
            )
        self.finish_task(tuple(samples), self.tasks_seen)

    def finish_task(self, samples: Batch, task: int, features: Tensor | None = None) -> None:
        capacity = self._allocate(samples)
        self._check_share(capacity)
        # Slot s may have what lies between s·size/tasks and (s+1)·size/tasks: no row is left over.
        slot = self.tasks_seen % self.total_tasks
        first, end = (s * capacity // self.total_tasks for s in (slot, slot + 1))
        count = ranks.total(len(samples[0]))
        chosen = draw_without_replacement(count, end - first, self.generator)
        if len(self._held) == self.total_tasks:  # the oldest has the slot that is wanted
            self._keep(torch.arange(self._held.pop(0), len(self)))
        self._write(slice(len(self), len(self) + len(chosen)), samples, chosen, task)
        self._held.append(len(chosen))
        self.tasks_seen += 1

    def reference(self) -> Batch:
        """Return a random sample of the whole memory (A-GEM's reference data)."""
        return self.sample(self.gradient_ref_data_size or None)

    def reference_of_one_task(self) -> Batch:
        """Return a random sample of one stored task, itself chosen at random (S-GEM's)."""
        tasks = list(self.counts())
        if not tasks:
            raise ValueError("the memory is empty; call store_task(samples) first")
        chosen = int(torch.randint(len(tasks), (), generator=self.generator))
        return self.reference_of(tasks[chosen])

    def reference_of(self, task: int) -> Batch:
        """Return a random sample of one stored task, a key of :meth:`counts` (GEM's)."""
        return self.sample(self.gradient_ref_data_size or None, of_task=task)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "held": list(self._held), "tasks_seen": self.tasks_seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._held, self.tasks_seen = list(state["held"]), state["tasks_seen"]

    def _check_share(self, capacity: int) -> None:
        if capacity < self.total_tasks:
            raise ValueError(
                f"total_mem_size is {capacity} for {self.total_tasks} tasks: not one sample a "
                "task; expected at least as many samples as tasks"
            )


class EpisodicMemoryDataset(TensorDataset):
    """The samples a memory holds now, as a data set: for loops of an older framework.

    Parameters
    ----------
    memory
        Read once; later changes of the memory do not show here.

    Raises
    ------
    ValueError
        If nothing is stored yet.
    """

    def __init__(self, memory: Memory) -> None:
        if len(memory) == 0:
            raise ValueError("the memory is empty; call memory.store_task(samples) first")
        super().__init__(*memory.all())
