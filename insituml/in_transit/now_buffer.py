"""The most recent samples of a stream, in bounded memory."""

from __future__ import annotations

from typing import Any

import torch

from insituml import ranks
from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch, exactly
from insituml.in_transit.dealt import Dealt, Samples, count_of, share_of
from insituml.rank_rows import dealt, handed


class NowBuffer:
    """A first-in, first-out buffer of samples.

    On several ranks each holds a share of what is added, which all are given or which is dealt;
    what is taken out or drawn is returned in parts, as batches are dealt.

    Parameters
    ----------
    capacity
        Samples that it holds at most.

    Raises
    ------
    ValueError
        If the capacity is below 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; a buffer needs room for 1 sample or more")
        self.capacity = capacity
        self._columns: Batch = ()
        self._oldest = 0
        self._count = 0

    def __len__(self) -> int:
        """Return the number of samples held."""
        return self._count

    @property
    def bytes(self) -> int:
        """Memory held; allocated whole with the first samples."""
        return sum(column.nbytes for column in self._columns)

    def add(self, samples: Samples) -> Batch:
        """Take in samples and return those that leave, oldest first.

        Parameters
        ----------
        samples
            Columns of ``(n, ...)``, copied; at most ``capacity`` samples.

        Returns
        -------
        tuple
            Columns of ``(m, ...)`` with ``m <= n``; ``m`` is 0 while there is room.

        Raises
        ------
        ValueError
            If more samples arrive than there is room for at all, with other shapes than before, or
            with values that the dtype of those before does not hold.
        """
        count = self._checked(samples)
        leaving = self._pop(max(0, self._count + count - self.capacity))
        rows = (self._oldest + self._count + torch.arange(count)) % self.capacity
        self._write(rows, samples)
        self._count += count
        return leaving

    def _checked(self, samples: Samples) -> int:
        """Return how many samples arrive, once there is room for so many such ones at all."""
        count, columns = count_of(samples), share_of(samples)
        if count > self.capacity:
            raise ValueError(
                f"{count} samples arrived at once, but the buffer holds {self.capacity}; let it "
                "hold one iteration at least"
            )
        if not self._columns:
            rows = len(range(self.capacity)[ranks.share()])
            self._columns = tuple(c.new_empty((rows, *c.shape[1:])) for c in columns)
        if [c.shape[1:] for c in columns] != [c.shape[1:] for c in self._columns]:
            raise ValueError(
                f"samples of shapes {[tuple(c.shape[1:]) for c in columns]} arrived; expected "
                f"{[tuple(c.shape[1:]) for c in self._columns]} as before"
            )
        return count

    def _write(self, rows: torch.Tensor, samples: Samples) -> None:
        own = ranks.owned(rows) if ranks.size() > 1 else slice(None)
        if isinstance(samples, Dealt):
            columns = handed(samples.share, dealt(samples.count), rows % ranks.size())
        else:
            columns = tuple(column[own] for column in samples)
        for column, new in zip(self._columns, columns, strict=True):
            column[rows[own] // ranks.size()] = exactly(new, column.dtype)

    def release(self, count: int) -> Batch:
        """Return the oldest ``count`` samples, or as many as there are, and forget them."""
        return self._pop(min(count, self._count))

    def draw(
        self, count: int, *, generator: torch.Generator, mix: IterationMixing | None = None
    ) -> Batch:
        """Draw samples uniformly: all different, unless more are asked for than are held.

        Parameters
        ----------
        count
            How many.
        generator
            Of the draws, on the CPU.
        mix
            Mixes them with others that are held; whole iterations must have been added. None:
            nothing does.

        Raises
        ------
        ValueError
            If the buffer is empty.
        """
        if not self._count:
            raise ValueError("the buffer is empty; add the samples of a step before drawing")
        rounds = -(-count // self._count)
        orders = [torch.randperm(self._count, generator=generator) for _ in range(rounds)]
        places = torch.cat(orders)[:count]
        batch = self._read(self._columns, places)
        if mix is None:
            return batch

        def inputs(partners: torch.Tensor) -> torch.Tensor:
            return self._read(self._columns[:1], partners)[0]

        return mix.randomly(batch, places, self._count, inputs, generator=generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the samples held, oldest first; on the first rank those of all, on others none."""
        everything = torch.arange(self._count)
        to_first = torch.zeros_like(everything)
        return {"columns": list(self._read(self._columns, everything, to_first))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Hold what :meth:`state_dict` returned, and nothing else."""
        self._columns, self._oldest, self._count = (), 0, 0
        if state["columns"]:
            self.add(tuple(state["columns"]))

    def _pop(self, count: int) -> Batch:
        leaving = self._read(self._columns, torch.arange(count))
        self._oldest = (self._oldest + count) % self.capacity
        self._count -= count
        return leaving

    def _read(
        self, columns: Batch, places: torch.Tensor, takers: torch.Tensor | None = None
    ) -> Batch:
        """Return samples by their places, 0 being the oldest.

        Of several ranks, ``takers`` says which is given each of them; None: each its share.
        """
        rows = self._rows_at(places)
        if ranks.size() == 1:
            return tuple(column.index_select(0, rows) for column in columns)
        held = ranks.owned(rows)
        own = tuple(column.index_select(0, rows[held] // ranks.size()) for column in columns)
        return handed(own, rows % ranks.size(), dealt(len(rows)) if takers is None else takers)

    def _rows_at(self, places: torch.Tensor) -> torch.Tensor:
        """Return the rows in which samples lie."""
        return (self._oldest + places) % self.capacity
