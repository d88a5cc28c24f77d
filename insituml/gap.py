"""The gap that continual learning is to close: from no help at all to all tasks at once."""

from __future__ import annotations

from collections.abc import Iterable

REFERENCE = "naive"
"""The method that does nothing against forgetting: where the gap begins."""

BOUND = "joint_converged"
"""The method that sees all tasks at once until it gets no better: where the gap ends."""

EQUAL_COMPUTE = "joint"
"""The method that sees all tasks at once for as long as others train: no bound, and where the gap
ends only where :data:`BOUND` is not compared."""


def end_of_gap(methods: Iterable[str]) -> str | None:
    """Return the method at which the gap ends, among those compared; None: it has no end."""
    names = set(methods)
    return next((end for end in (BOUND, EQUAL_COMPUTE) if end in names), None)


def gap_closed(error: float, naive: float, joint: float) -> float:
    """``(naive − error) / (naive − joint)``: 0 is no help, 1 as good as joint training.

    NaN where joint training is no better than naive: there is no gap to close.
    """
    gap = naive - joint
    return (naive - error) / gap if gap > 0 else float("nan")
