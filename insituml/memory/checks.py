"""What memories refuse, in the same words whatever they store rows as."""

from __future__ import annotations

from collections.abc import Sequence

from insituml.data.task import Batch


def check_capacity(capacity: int | None, capacity_bytes: int | None) -> None:
    """Raise a ValueError unless exactly one of them is given, as a whole number."""
    if (capacity is None) == (capacity_bytes is None):
        raise ValueError(
            f"capacity is {capacity} and capacity_bytes {capacity_bytes}; expected exactly "
            "one of them, a number of samples or of bytes"
        )
    for name, value in (("capacity", capacity), ("capacity_bytes", capacity_bytes)):
        if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__")):
            raise ValueError(f"{name} is {value!r}; expected a whole number")
    if capacity is not None and capacity < 1:
        raise ValueError(f"capacity is {capacity}; expected 1 sample or more")


def check_rows(samples: Batch, shapes: Sequence[Sequence[int]]) -> None:
    """Raise a ValueError unless columns are as long as each other and of these shapes."""
    if len({len(column) for column in samples}) > 1:
        raise ValueError(
            f"columns of {[len(c) for c in samples]} samples arrived; expected one row each"
        )
    expected, arrived = [tuple(s) for s in shapes], [tuple(t.shape[1:]) for t in samples]
    if arrived != expected:
        raise ValueError(
            f"samples of shape {arrived} do not fit a memory that holds {expected}; "
            "use one memory per stream"
        )


def check_not_empty(columns: Sequence[object]) -> None:
    """Raise a ValueError unless samples have shown what their columns are."""
    if not columns:
        raise ValueError("the memory is empty; store samples of a task first")
