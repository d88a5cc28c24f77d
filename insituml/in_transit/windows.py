"""Which task an iteration belongs to, and whether it is held out: known before it arrives."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence

from insituml.data.split import hold_out_evenly, split_by_time


class TaskWindows:
    """Tasks as windows of iterations, cut and held out as the file pipeline does.

    A gap in the stream moves no later iteration into another task.

    Parameters
    ----------
    iterations
        What the producer is to write, ascending; for a live producer of unknown length, the range
        that training is to cover, such as ``range(0, 50_000, 100)``.
    tasks
        Number of windows.
    holdout
        Part of each window to hold out, spread evenly; between 0 and 1.

    Raises
    ------
    ValueError
        If the iterations do not ascend, or there are too few of them for the tasks.
    """

    def __init__(self, iterations: Sequence[int], tasks: int, holdout: float) -> None:
        numbers = list(iterations)
        if any(after <= before for before, after in itertools.pairwise(numbers)):
            raise ValueError(f"iterations must ascend, but begin {numbers[:8]}")
        windows = split_by_time(len(numbers), tasks)
        self.first = tuple(numbers[window[0]] for window in windows)
        """First iteration of each task."""
        self.last = tuple(numbers[window[-1]] for window in windows)
        """Last iteration of each task."""
        held_out = [hold_out_evenly(window, holdout)[1] for window in windows]
        self.held_out = frozenset(numbers[place] for part in held_out for place in part)
        """Iterations that training never sees."""

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.first)

    def task_of(self, iteration: int) -> int:
        """Return the task of an iteration.

        Raises
        ------
        ValueError
            If it is before the first task or after the last.
        """
        if not self.first[0] <= iteration <= self.last[-1]:
            raise ValueError(
                f"iteration {iteration} is outside the tasks, which cover {self.first[0]} to "
                f"{self.last[-1]}; let them cover what the producer writes"
            )
        return bisect_right(self.first, iteration) - 1

    def name(self, task: int) -> str:
        """Return what figures call a task."""
        return f"iterations {self.first[task]}–{self.last[task]}"
