"""Preallocated rows for samples, shared by the memories."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from insituml import rank_rows, ranks
from insituml.data.task import Batch, exactly, sent
from insituml.memory.checks import check_capacity, check_not_empty, check_rows
from insituml.memory.places import Places, simplest, taken

STORED_AS = {"float32": torch.float32, "float16": torch.float16}


class SampleStorage:
    """A fixed number of rows, allocated when the first samples show their shape and dtype.

    On several ranks each has its share of them, and numbers here are those of its own rows; the
    capacity is that of all.

    Parameters
    ----------
    capacity
        Rows.
    capacity_bytes
        In its place, an upper bound in bytes: as many rows as fit, what ``row_overhead`` says
        included. Exactly one of the two must be given.
    dtype
        What floating-point columns are stored as, ``"float32"`` or ``"float16"``; None: as they
        arrive. They are given back in the dtype in which they arrived. Other columns stay.
    device
        Where the rows live, as ``"cpu"`` or ``"cuda"``; None: where the samples are, so that
        writing never waits for a device. (With ``"cpu"`` and samples on a GPU it does.)
    pin
        Keep rows in the CPU's page-locked memory, and give batches back in it: their copy to a
        GPU need not wait. Implies ``device="cpu"``. Does nothing where CUDA is not available.
    row_overhead
        Bytes a row that the owner keeps beside the samples.

    Raises
    ------
    ValueError
        If not exactly one capacity is given, it is below 1, or another option is unknown or
        does not work here.
    """

    def __init__(
        self,
        capacity: int | None = None,
        *,
        capacity_bytes: int | None = None,
        dtype: str | None = None,
        device: str | None = None,
        pin: bool = False,
        row_overhead: int = 0,
    ) -> None:
        check_capacity(capacity, capacity_bytes)
        if dtype is not None and dtype not in STORED_AS:
            raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(STORED_AS)}, or None")
        self.capacity = capacity
        self.columns: list[Tensor] = []
        self._capacity_bytes = capacity_bytes
        self._stored_as = None if dtype is None else STORED_AS[dtype]
        self._device = _usable("cpu" if device is None and pin else device)
        if pin and self._device != torch.device("cpu"):
            raise ValueError(f"pin is True with device={device!r}; only rows on the cpu are pinned")
        self._pin = pin and torch.cuda.is_available()
        self._row_overhead = row_overhead
        self._arrived_as: list[torch.dtype] = []
        self._is_placed = False

    def allocate(self, samples: Batch) -> int:
        """Make room for rows like these samples, at the first call; return the number of rows.

        Raises
        ------
        ValueError
            If not one row fits into ``capacity_bytes``, or all rows not into memory.
        """
        if not self._is_placed:
            device = self._device or samples[0].device
            if not self.columns:
                self._arrived_as = [t.dtype for t in samples]
                dtypes = [self._stored_dtype(t.dtype) for t in samples]
                rows = self._rows_for([t.shape[1:] for t in samples], dtypes)
                own = len(range(rows)[ranks.share()])
                self.columns = [
                    _zeros((own, *t.shape[1:]), dtype, device)
                    for t, dtype in zip(samples, dtypes, strict=True)
                ]
                self.capacity = rows
            # A loaded checkpoint's rows lie where it was read.
            self.columns = [column.to(device) for column in self.columns]
            if self._pin:
                self.columns = [column.pin_memory() for column in self.columns]
            self._is_placed = True
        assert self.capacity is not None
        return self.capacity

    def write(self, rows: Places, samples: Batch, chosen: Places | None = None) -> None:
        """Copy samples into rows.

        Parameters
        ----------
        rows
            ``(m,)``, on the CPU, ascending, each once; or a slice of m rows.
        samples
            Tensors ``(n, ...)``.
        chosen
            ``(m,)``, or a slice: the places of the samples to copy; None: all of them.

        Raises
        ------
        ValueError
            If the samples' shapes differ from those stored before, or if their dtypes do and a
            value would change; or if a value is too large for float16. (On a GPU, where looking
            would mean to wait, it becomes infinite instead.)
        """
        self.checked(samples)
        rows, chosen = simplest(rows), simplest(slice(None) if chosen is None else chosen)
        ready = []
        for column, values, arrives in zip(self.columns, samples, self._arrived_as, strict=True):
            values = exactly(taken(values.detach(), chosen), arrives)
            stored = values.to(column)
            if stored.dtype == torch.float16 and not stored.is_cuda:
                _check_range(values, stored)
            ready.append(stored)
        for column, stored in zip(self.columns, ready, strict=True):
            if isinstance(rows, slice):
                column[rows] = stored  # several times as fast as by index
            else:
                column.index_copy_(0, sent(rows, column.device), stored)

    def checked(self, samples: Batch) -> Batch:
        """Return samples that are of the shapes stored, or raise ValueError."""
        self.allocate(samples)
        check_rows(samples, [column.shape[1:] for column in self.columns])
        return samples

    def exchange(self, rows: Tensor, held: Tensor, count: int, now: Tensor) -> None:
        """Give rows to the ranks that own them from now on.

        Parameters
        ----------
        rows
            Of this rank's rows, those that go on to be stored.
        held
            Which of all that do they are.
        count
            How many rows do, on all ranks.
        now
            Which of them this rank has from now on, in its first rows.
        """
        own = tuple(taken(column, rows) for column in self.columns)
        for column, values in zip(
            self.columns, rank_rows.exchanged(own, held, count, now), strict=True
        ):
            column[: len(values)] = values

    def keep(self, rows: Tensor) -> None:
        """Move these rows to the front, in this order; those behind them may be written anew."""
        for column in self.columns:
            column[: len(rows)] = taken(column, rows)

    def read(self, rows: Places) -> Batch:
        """Return the given rows, one contiguous tensor a column; of a slice, views where possible.

        Raises
        ------
        ValueError
            If nothing is stored yet.
        """
        check_not_empty(self.columns)
        batch = []
        for column, dtype in zip(self.columns, self._arrived_as, strict=True):
            values = taken(column, rows).to(dtype)
            batch.append(values.pin_memory() if self._pin else values)
        return tuple(batch)

    def state_dict(self) -> dict[str, Any]:
        return {
            "columns": self._all_rows(),
            "arrived_as": [str(dtype).removeprefix("torch.") for dtype in self._arrived_as],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        columns: list[Tensor] = state["columns"]
        arrived_as = [getattr(torch, name) for name in state["arrived_as"]]
        for column, arrived in zip(columns, arrived_as, strict=True):
            if column.dtype != self._stored_dtype(arrived):
                raise ValueError(
                    f"the stored memory holds {column.dtype}, this one "
                    f"{self._stored_dtype(arrived)}; resume with the dtype it was trained with"
                )
        if columns:
            rows = self._rows_for([c.shape[1:] for c in columns], [c.dtype for c in columns])
            if len(columns[0]) != rows:
                raise ValueError(
                    f"the stored memory has {len(columns[0])} rows, this one {rows}; resume with "
                    "the memory size it was trained with"
                )
            self.capacity = rows
        self.columns = [column[ranks.share()].clone() for column in columns]
        self._arrived_as = arrived_as
        self._is_placed = False

    def _all_rows(self) -> list[Tensor]:
        """Return the rows of all ranks on the first, which alone stores them; elsewhere none."""
        if ranks.size() == 1 or self.capacity is None:
            return self.columns
        held = torch.arange(self.capacity)[ranks.share()]
        wanted = torch.arange(self.capacity if ranks.rank() == 0 else 0)
        return list(rank_rows.exchanged(self.columns, held, self.capacity, wanted))

    def _stored_dtype(self, arrived: torch.dtype) -> torch.dtype:
        if self._stored_as is None or not arrived.is_floating_point:
            return arrived
        return self._stored_as

    def _rows_for(self, shapes: list[torch.Size], dtypes: list[torch.dtype]) -> int:
        if self._capacity_bytes is None:
            assert self.capacity is not None
            return self.capacity
        sizes = [math.prod(s) * d.itemsize for s, d in zip(shapes, dtypes, strict=True)]
        row = sum(sizes) + self._row_overhead
        if row > self._capacity_bytes:
            raise ValueError(
                f"capacity_bytes is {self._capacity_bytes}, but one sample takes {row}; give at "
                "least that much"
            )
        return self._capacity_bytes // row


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Zeros, not what the memory held: unused rows are part of a checkpoint's bytes.
    try:
        return torch.zeros(shape, dtype=dtype, device=device)
    except (RuntimeError, MemoryError) as error:
        needed = math.prod(shape) * dtype.itemsize
        raise ValueError(
            f"{shape[0]} samples of shape {shape[1:]} need {needed:.3g} bytes on {device}, which "
            "there are not; use a smaller capacity"
        ) from error


def _usable(device: str | None) -> torch.device | None:
    if device is None:
        return None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device is {device!r}, which does not work here ({reason}); use cpu, or None for "
            "where the samples are"
        ) from error


def _check_range(values: Tensor, stored: Tensor) -> None:
    if bool(stored.isinf().any()) and bool(values.isfinite().all()):
        raise ValueError(
            f"a value of magnitude {values.abs().max():.3g} does not fit dtype=float16 (at most "
            "65504); normalise the data or use float32"
        )
