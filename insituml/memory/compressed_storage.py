"""Samples as bytes, each as many as it needs, in a bounded number of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch, exactly
from insituml.memory.checks import check_capacity, check_not_empty, check_rows
from insituml.memory.columns import ExactColumn, column_of
from insituml.memory.places import Places


class CompressedStorage:
    """A list of samples on the CPU, fields in it compressed with a bound on their error.

    Parameters
    ----------
    capacity
        Bytes at most, as those of so many samples in a row each with ``row_bytes`` beside it.
    capacity_bytes
        In its place, a number of bytes.
    rms_error
        Largest root-mean-square error of a field of a sample.
    overhead
        Bytes that are kept beside each sample, all told.
    row_bytes
        Bytes beside a sample that is stored as it is, in a row.
    pin
        Give batches back in page-locked memory, if CUDA is available.

    Raises
    ------
    ValueError
        If not exactly one capacity is given, or a number is out of range.
    """

    def __init__(
        self,
        capacity: int | None,
        capacity_bytes: int | None,
        rms_error: float,
        *,
        overhead: int,
        row_bytes: int,
        pin: bool,
    ) -> None:
        check_capacity(capacity, capacity_bytes)
        if not 0 < rms_error < float("inf"):
            raise ValueError(
                f"rms_error is {rms_error}; expected a number above 0, in the unit of the samples"
            )
        self.rms_error = rms_error
        self.bytes = 0
        """Of all samples, what is kept beside them included."""
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._overhead = overhead
        self._row_bytes = row_bytes
        self._pin = pin and torch.cuda.is_available()
        self._columns: list[ExactColumn] = []
        self._samples: list[bytes] = []

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes at most; None where the first samples have yet to show how many these are."""
        if self._capacity_bytes is not None or not self._columns:
            return self._capacity_bytes
        assert self._capacity is not None
        size = sum(c.shape.numel() * c.dtype.itemsize for c in self._columns)
        return self._capacity * (size + self._row_bytes)

    def prepare(self, samples: Batch) -> None:
        """Learn from the first samples what columns there are, and check all others against it.

        Raises
        ------
        ValueError
            If one such sample may need more bytes than there are, or others were stored before.
        ImportError
            If a column is a field and zfpy is not installed.
        """
        if not self._columns:
            self._columns = [column_of(t.shape[1:], t.dtype, self.rms_error) for t in samples]
            self._check_capacity()
        check_rows(samples, [column.shape for column in self._columns])

    def insert(self, place: int, sample: Batch) -> None:
        """Store a sample, tensors without the first dimension, before the one at a place."""
        pairs = zip(self._columns, self._fitting(sample), strict=True)
        self._samples.insert(place, b"".join(column.encode(values) for column, values in pairs))
        self.bytes += self._size(place)

    def pop(self) -> None:
        """Forget the last sample."""
        self.bytes -= self._size(-1)
        self._samples.pop()

    def replace(self, place: int, sample: Batch) -> None:
        """Store a sample in place of another; values that are those read keep their bytes."""
        self.bytes -= self._size(place)
        parts = []
        for column, part, values in zip(
            self._columns, self._parts(place), self._fitting(sample), strict=True
        ):
            is_same = torch.equal(column.decode(part), values)  # an error would add to the first
            parts.append(bytes(part) if is_same else column.encode(values))
        self._samples[place] = b"".join(parts)
        self.bytes += self._size(place)

    def read(self, places: Places) -> Batch:
        """Return samples, one contiguous tensor a column.

        Raises
        ------
        ValueError
            If nothing was stored yet.
        """
        check_not_empty(self._columns)
        if isinstance(places, slice):
            places = torch.arange(len(self))[places]
        batch = [
            torch.empty((len(places), *column.shape), dtype=column.dtype, pin_memory=self._pin)
            for column in self._columns
        ]
        for row, place in enumerate(places.tolist()):
            for values, column, part in zip(batch, self._columns, self._parts(place), strict=True):
                values[row] = column.decode(part)
        return tuple(batch)

    def state_dict(self) -> dict[str, Any]:
        content = bytearray(b"".join(self._samples))
        return {
            "rms_error": self.rms_error,
            "shapes": [list(column.shape) for column in self._columns],
            "dtypes": [str(column.dtype).removeprefix("torch.") for column in self._columns],
            "lengths": torch.tensor([len(s) for s in self._samples], dtype=torch.int64),
            "content": torch.frombuffer(content, dtype=torch.uint8)
            if content
            else torch.empty(0, dtype=torch.uint8),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["rms_error"] != self.rms_error:
            raise ValueError(
                f"the stored memory has rms_error {state['rms_error']}, this one "
                f"{self.rms_error}; resume with the one it was trained with"
            )
        kinds = zip(state["shapes"], state["dtypes"], strict=True)
        self._columns = [
            column_of(torch.Size(shape), getattr(torch, dtype), self.rms_error)
            for shape, dtype in kinds
        ]
        content, lengths = state["content"].numpy().tobytes(), state["lengths"].tolist()
        if min(lengths, default=0) < 0 or sum(lengths) != len(content):
            raise ValueError(
                f"the stored memory has {len(content)} bytes for samples of {sum(lengths)}; it is "
                "damaged"
            )
        self._samples, start = [], 0
        for length in lengths:
            self._samples.append(content[start : start + length])
            start += length
        for place in range(len(self)):
            if sum(map(len, self._parts(place))) != lengths[place]:
                raise ValueError(f"sample {place} of the stored memory is damaged")
        self.bytes = len(content) + self._overhead * len(lengths)
        if self._columns:
            self._check_capacity()
            bound = self.capacity_bytes
            assert bound is not None
            if self.bytes > bound:
                raise ValueError(
                    f"the stored memory has {self.bytes} bytes, this one {bound}; resume with "
                    "the memory size it was trained with"
                )

    def _size(self, place: int) -> int:
        return len(self._samples[place]) + self._overhead

    def _fitting(self, sample: Batch) -> list[Tensor]:
        pairs = zip(self._columns, sample, strict=True)
        return [exactly(values.detach().cpu(), column.dtype) for column, values in pairs]

    def _parts(self, place: int) -> list[memoryview]:
        """Return the bytes of each column of a sample."""
        rest, parts = memoryview(self._samples[place]), []
        for column in self._columns:
            length = column.length(rest)
            parts.append(rest[:length])
            rest = rest[length:]
        return parts

    def _check_capacity(self) -> None:
        needed = sum(column.largest for column in self._columns) + self._overhead
        bound = self.capacity_bytes
        assert bound is not None
        if needed > bound:
            self._columns = []
            raise ValueError(
                f"the memory has {bound} bytes, but one sample that cannot be compressed takes "
                f"{needed}; give at least that much by capacity_bytes"
            )
