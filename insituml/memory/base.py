"""What all memories of a stream share: rows, the task of each, and uniform draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.memory.storage import Places, SampleStorage, draw_without_replacement, own_generator


class Memory:
    """Abstract: stored samples of a stream. A subclass decides which ones, in one of two hooks.

    Parameters
    ----------
    capacity
        Samples stored at most.
    capacity_bytes
        In its place, bytes at most, everything kept for each sample included; the first samples
        show how many these are.
    dtype, device, pin
        How samples are stored; see :class:`~insituml.memory.storage.SampleStorage`.
    total_tasks
        Tasks that will come, where this is known. Only :class:`~insituml.memory.EpisodicMemory`,
        whose shares are fixed, makes use of it.
    generator
        Chooses which samples are stored and drawn; None: its own, with seed 0.

    Raises
    ------
    ValueError
        As in :class:`~insituml.memory.storage.SampleStorage`.
    """

    needs_losses = False
    """Whether :meth:`add` must be given the loss of each sample."""

    needs_features = False
    """Whether :meth:`finish_task` must be given the features of each sample."""

    row_overhead = 8
    """Bytes kept for each sample beside it: here the number of its task."""

    def __init__(
        self,
        capacity: int | None = None,
        *,
        capacity_bytes: int | None = None,
        dtype: str | None = None,
        device: str | None = None,
        pin: bool = False,
        total_tasks: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.generator = own_generator(generator)
        self._storage = SampleStorage(
            capacity,
            capacity_bytes=capacity_bytes,
            dtype=dtype,
            device=device,
            pin=pin,
            row_overhead=self.row_overhead,
        )
        # The rows in use are the first ones; what is decided about them is decided on the CPU.
        self._task_of_row = torch.empty(0, dtype=torch.int64)
        self._filled = 0
        self.samples_drawn = 0
        """How many samples :meth:`sample` has returned since the memory was made."""

    @property
    def capacity(self) -> int | None:
        """Samples stored at most; None as long as bytes have not become samples."""
        return self._storage.capacity

    def add(self, samples: Batch, task: int, losses: Tensor | None = None) -> None:
        """Offer samples of a task, in the order of the stream.

        Parameters
        ----------
        samples
            Tensors ``(n, ...)``.
        task
            The number of their task.
        losses
            ``(n,)``: the loss of each sample, where :attr:`needs_losses` is true.
        """

    def finish_task(self, samples: Batch, task: int, features: Tensor | None = None) -> None:
        """Offer all samples of a task just learned.

        Parameters
        ----------
        samples
            Tensors ``(n, ...)``.
        task
            The number of their task.
        features
            ``(n, ...)``: what describes each sample, where :attr:`needs_features` is true.
        """

    def __len__(self) -> int:
        """Return the number of samples stored."""
        return self._filled

    def counts(self) -> dict[int, int]:
        """Return how many stored samples each task has."""
        tasks, counts = self._task_of_row[: len(self)].unique(return_counts=True)
        return dict(zip(tasks.tolist(), counts.tolist(), strict=True))

    def sample(
        self, size: int | None, *, of_task: int | None = None, without_task: int | None = None
    ) -> Batch:
        """Draw without replacement: ``min(size, ...)`` of the samples stored.

        Parameters
        ----------
        size
            Samples to draw; None: all there are, in the order of :meth:`all`, without drawing.
        of_task
            Draw from the samples of this task only.
        without_task
            Leave out the samples of this task. With neither: draw from the whole memory.

        Raises
        ------
        ValueError
            If nothing was ever stored.
        """
        task_of_row = self._task_of_row[: len(self)]
        if of_task is not None:
            rows = (task_of_row == of_task).nonzero().flatten()
        elif without_task is not None:
            rows = (task_of_row != without_task).nonzero().flatten()
        else:
            rows = torch.arange(len(self))
        if size is not None:
            rows = rows[draw_without_replacement(len(rows), size, self.generator)]
        self.samples_drawn += len(rows)
        return self._storage.read(rows)

    def all(self) -> Batch:
        """Return a copy of every stored sample; :meth:`tasks` tells the task of each."""
        return self.sample(None)

    def tasks(self) -> Tensor:
        """Return the task of every stored sample, ``(n,)``, in the order of :meth:`all`."""
        return self._task_of_row[: len(self)].clone()

    def stored(self) -> Batch:
        """Return every stored sample, not copied if stored in the dtype in which it arrived.

        They change with the memory; :meth:`all` returns what stays.
        """
        return self._storage.read(slice(0, len(self)))

    def revise(self, task: int, revised: Callable[[Batch], Batch], batch_size: int = 256) -> None:
        """Replace the stored samples of a task.

        Parameters
        ----------
        task
            The number of the task.
        revised
            ``revised(samples) -> samples``, of the same shapes, at most ``batch_size`` at a time.
        """
        rows = (self._task_of_row[: len(self)] == task).nonzero().flatten()
        for part in rows.split(batch_size) if len(rows) else ():
            self._storage.write(part, revised(self._storage.read(part)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "storage": self._storage.state_dict(),
            "task_of_row": self._task_of_row,
            "filled": self._filled,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._storage.load_state_dict(state["storage"])
        self._task_of_row = state["task_of_row"].clone()
        self._filled = state["filled"]

    def _allocate(self, samples: Batch) -> int:
        capacity = self._storage.allocate(samples)
        if len(self._task_of_row) == 0:
            self._task_of_row = torch.full((capacity,), -1, dtype=torch.int64)
        return capacity

    def _write(self, rows: Places, samples: Batch, chosen: Places, task: int) -> None:
        """Store the chosen samples in ascending rows; new rows follow those in use."""
        self._storage.write(rows, samples, chosen)
        self._task_of_row[rows] = task
        if isinstance(rows, slice):
            self._filled = max(self._filled, rows.stop)
        elif len(rows):
            self._filled = max(self._filled, int(rows[-1]) + 1)

    def _keep(self, rows: Tensor) -> None:
        """Forget all rows but these, which come to the front in this order."""
        self._storage.keep(rows)
        self._task_of_row[: len(rows)] = self._task_of_row[rows]
        self._filled = len(rows)
