"""What all memories of a stream share: the task of each sample stored, and uniform draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from insituml import rank_rows, ranks
from insituml.data.task import Batch
from insituml.memory.draws import draw_without_replacement, own_generator
from insituml.memory.places import Places


class Memory:
    """Abstract: stored samples of a stream. A subclass decides which ones, in one of two hooks.

    On several ranks (:mod:`insituml.ranks`) each offers its own rows, all decide alike, and what a
    draw returns are those of the rows drawn that are this rank's.

    Parameters
    ----------
    generator
        Chooses which samples are stored and drawn; None: its own, with seed 0.
    """

    needs_losses = False
    """Whether :meth:`add` must be given the loss of each sample."""

    needs_features = False
    """Whether :meth:`finish_task` must be given the features of each sample."""

    row_overhead = 8
    """Bytes kept for each sample beside it: here the number of its task."""

    def __init__(self, *, generator: torch.Generator | None = None) -> None:
        self.generator = own_generator(generator)
        # What is decided about the samples stored is decided on the CPU. The first ones count.
        self._task_of_row = torch.empty(0, dtype=torch.int64)
        self._filled = 0
        self.samples_drawn = 0
        """How many samples :meth:`sample` has returned since the memory was made."""

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

    def of_simulation(self, simulation: int) -> None:
        """Hear which of several simulations the samples are of that are offered next.

        Nothing follows from it here; :class:`~insituml.memory.SimulationMemory` gives each a share.
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
            If nothing was ever stored; on several ranks, if they ask for different numbers.
        """
        return self.read(self.draw(size, of_task=of_task, without_task=without_task))

    def sample_completed(self, size: int | None, complete: Callable[[Batch], Batch]) -> Batch:
        """Draw as :meth:`sample` does, and return what a function makes of the samples drawn.

        Parameters
        ----------
        size
            Samples to draw; None: all there are.
        complete
            ``complete(samples) -> samples``, one for each, given all that were drawn: what it adds
            may be drawn by chance, and is then the same on any number of ranks.

        Raises
        ------
        ValueError
            As in :meth:`sample`.
        """
        rows = self.draw(size)
        if ranks.size() == 1:
            return complete(self.read(rows))
        held, everywhere = self.owned(rows).nonzero().flatten(), torch.arange(len(rows))
        drawn = rank_rows.exchanged(self.read(rows), held, len(rows), everywhere)
        return tuple(column[ranks.share()] for column in complete(drawn))

    def draw(
        self, size: int | None, *, of_task: int | None = None, without_task: int | None = None
    ) -> Tensor:
        """Return which stored samples :meth:`sample` returns, on all ranks; they count as drawn."""
        if size is not None:
            ranks.agreed("size of a draw from the memory", size)
        if of_task is not None:
            rows = self._rows_of(of_task)
        elif without_task is not None:
            rows = (self._task_of_row[: len(self)] != without_task).nonzero().flatten()
        else:
            rows = torch.arange(len(self))
        if size is not None:
            rows = rows[draw_without_replacement(len(rows), size, self.generator)]
        self.samples_drawn += len(rows)
        return rows

    def owned(self, rows: Tensor) -> Tensor:
        """Tell of each of the rows drawn whether this rank is to read it; by default, in turn."""
        return ranks.owned(torch.arange(len(rows)))

    def read(self, rows: Tensor) -> Batch:
        """Return the stored samples of a draw; of several ranks, each those that it owns."""
        return self._read(rows[self.owned(rows)])

    def all(self) -> Batch:
        """Return a copy of every stored sample; :meth:`tasks` tells the task of each."""
        return self.sample(None)

    def tasks(self) -> Tensor:
        """Return the task of every stored sample, ``(n,)``, in the order of :meth:`all`."""
        return self._task_of_row[: len(self)].clone()

    def stored(self) -> Batch:
        """Return every stored sample, not copied if stored as it arrived.

        They may change with the memory; :meth:`all` returns what stays.
        """
        if ranks.size() > 1:
            rows = torch.arange(len(self))
            return self._read(rows[self.owned(rows)])
        return self._read(slice(0, len(self)))

    def revise(self, task: int, revised: Callable[[Batch], Batch], batch_size: int = 256) -> None:
        """Replace the stored samples of a task.

        Parameters
        ----------
        task
            The number of the task.
        revised
            ``revised(samples) -> samples``, of the same shapes, at most ``batch_size`` at a time.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return everything a resumed run needs: tensors and plain values."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, of which a copy is taken."""
        raise NotImplementedError

    def _rows_of(self, task: int) -> Tensor:
        """Return which of the stored samples a task has, ``(n,)``, in order."""
        return (self._task_of_row[: len(self)] == task).nonzero().flatten()

    def _read(self, rows: Places) -> Batch:
        """Return stored samples, or raise ValueError if nothing was ever stored."""
        raise NotImplementedError
