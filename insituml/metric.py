"""What a number of a run is: how it comes about, and how tables and figures show it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from insituml.gap import EQUAL_COMPUTE, REFERENCE, end_of_gap

Matrix = np.ndarray
Numbers = Mapping[str, float]
"""By a metric's name; NaN where it has no meaning."""


@dataclass(frozen=True)
class RunResult:
    """What is known of one run, a method trained with one seed.

    Parameters
    ----------
    matrix
        ``(K, K)``, its loss matrix.
    untrained
        ``(K,)``, the error of the untrained model on each task.
    memory_bytes
        Size of what its method keeps from task to task.
    flops, samples_seen, samples_replayed
        What training took; see :class:`~insituml.optimisation.Work`.
    sequential, keeps_all_data
        As the attributes of :class:`~insituml.methods.base.Method`.
    """

    matrix: Matrix
    untrained: np.ndarray
    memory_bytes: float
    sequential: bool = True
    keeps_all_data: bool = False
    flops: float = math.nan
    samples_seen: float = math.nan
    samples_replayed: float = math.nan


@dataclass(frozen=True)
class Metric:
    """One number of a run: how it comes about and how tables and figures show it.

    Parameters
    ----------
    name
        Key in files, and name of the tracked metric.
    label
        What people read.
    better
        Which values are.
    kind
        ``"error"`` is in units of the loss; ``"share"`` has none, 1 is all of it; ``"bytes"`` and
        ``"count"`` are costs that all seeds have in common.
    of_run
        Computes it from one run.
    of_comparison
        Computes it from the numbers of one run, and those of all methods with the same seed.
        Either this or ``of_run``.
    needs_order
        Whether it means something only where tasks are learned one after the other. It is a
        difference of errors then, and 0 is a level to read it by.
    headline
        Whether it stands in the short tables and the figure, not in the full table alone.
    drawn
        Whether it has a panel in the figure, if it is a headline.
    no_help
        Value that stands for no help at all: what is no better is never called the best.
    of_gap
        Whether it is a share of the gap, which ends at one method or another.
    """

    name: str
    label: str
    better: Literal["lower", "higher"] = "lower"
    kind: Literal["error", "share", "bytes", "count"] = "error"
    of_run: Callable[[RunResult], float] | None = None
    of_comparison: Callable[[Numbers, Mapping[str, Numbers]], float] | None = None
    needs_order: bool = False
    headline: bool = True
    drawn: bool = True
    no_help: float | None = None
    of_gap: bool = False

    @property
    def varies(self) -> bool:
        """Whether seeds differ in it, so that there is a spread to tell."""
        return self.kind not in ("bytes", "count")

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns in a table of methods: the mean over seeds and, with ``_std``, the spread."""
        return (self.name, f"{self.name}_std") if self.varies else (self.name,)

    def label_among(self, methods: Iterable[str]) -> str:
        """Return what people read where these are compared: it says so if the bound is missing."""
        weaker = self.of_gap and end_of_gap(methods) == EQUAL_COMPUTE
        return f"{self.label} (to {EQUAL_COMPUTE})" if weaker else self.label

    def axis_among(self, methods: Iterable[str]) -> str:
        """Return what the axis of a figure says in place of the error's unit; nothing: that."""
        end = (end_of_gap(methods) or "").replace("_", " ")
        return f"0 = {REFERENCE}, 1 = {end}" if self.of_gap else ""

    def best(self, values: list[float]) -> float | None:
        """Return the best of several methods' values; None where there is nothing to choose."""
        known = [value for value in values if not math.isnan(value)]
        if len(set(known)) < 2:
            return None
        best = min(known) if self.better == "lower" else max(known)
        if self.no_help is None:
            return best
        helps = best < self.no_help if self.better == "lower" else best > self.no_help
        return best if helps else None
