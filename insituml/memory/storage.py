"""Preallocated rows for samples, shared by the memories."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch


class SampleStorage:
    """A fixed number of rows, allocated when the first samples show their shape.

    Parameters
    ----------
    capacity
        Rows.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.columns: list[Tensor] = []

    def write(self, rows: Tensor, samples: Batch) -> None:
        """Copy samples into the given rows (each row once).

        Raises
        ------
        ValueError
            If the samples' shapes differ from those stored before.
        """
        if not self.columns:
            # Zeros, not whatever the memory held: unused rows are part of a checkpoint's bytes.
            self.columns = [t.new_zeros((self.capacity, *t.shape[1:])) for t in samples]
        expected = [tuple(column.shape[1:]) for column in self.columns]
        arrived = [tuple(t.shape[1:]) for t in samples]
        if arrived != expected:
            raise ValueError(
                f"samples of shape {arrived} do not fit a memory that holds {expected}; "
                "use one memory per stream"
            )
        for column, values in zip(self.columns, samples, strict=True):
            column[rows.to(column.device)] = values.detach().to(column)

    def read(self, rows: Tensor) -> Batch:
        """Return the given rows, one contiguous tensor a column.

        Raises
        ------
        ValueError
            If nothing is stored yet.
        """
        if not self.columns:
            raise ValueError("the memory is empty; store samples of a task first")
        return tuple(column[rows.to(column.device)] for column in self.columns)

    def state_dict(self) -> dict[str, Any]:
        return {"columns": self.columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        rows = {len(column) for column in state["columns"]}
        if rows - {self.capacity}:
            raise ValueError(
                f"the stored memory has {rows.pop()} rows, this one {self.capacity}; resume with "
                "the memory size it was trained with"
            )
        self.columns = [column.clone() for column in state["columns"]]


def draw_without_replacement(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Return ``min(size, count)`` distinct numbers below ``count``, uniformly at random."""
    return torch.randperm(count, generator=generator)[:size]


def own_generator(generator: torch.Generator | None) -> torch.Generator:
    """Return the generator, or a new one with seed 0."""
    return generator if generator is not None else torch.Generator().manual_seed(0)
