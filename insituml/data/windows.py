"""Which task an iteration belongs to, and whether it is held out: known before it arrives."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from insituml.data.split import hold_out_evenly, split_by_time, validate_evenly

LARGEST_ITERATION = 2**63 - 1
"""Arrays and files hold iterations as 64-bit integers."""


@dataclass(frozen=True)
class Window:
    """The iterations of one task.

    Parameters
    ----------
    name
        What figures call the task.
    iterations
        Ascending.
    held_out
        Those of them to test with, which training never sees.
    validation
        Others of them to select by, which training never sees either.
    """

    name: str
    iterations: tuple[int, ...]
    held_out: tuple[int, ...]
    validation: tuple[int, ...] = ()


class TaskWindows:
    """The tasks of a stream as windows of iterations, one after the other.

    A gap in the stream moves no later iteration into another task.

    Parameters
    ----------
    windows
        In the order of the stream.

    Raises
    ------
    ValueError
        If the iterations do not ascend, or one is below 0 or beyond 64 bits.
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        self.windows = tuple(windows)
        self.iterations = tuple(number for window in windows for number in window.iterations)
        """Of all tasks, ascending."""
        if any(after <= before for before, after in itertools.pairwise(self.iterations)):
            before, after = next((b, a) for b, a in itertools.pairwise(self.iterations) if a <= b)
            raise ValueError(
                f"iterations must ascend, but {after} follows {before}; each may come once"
            )
        for number in (self.iterations[0], self.iterations[-1]) if self.iterations else ():
            if not 0 <= number <= LARGEST_ITERATION:
                raise ValueError(
                    f"iteration {number} cannot be stored; expected numbers from 0 to 2^63 − 1"
                )
        self.held_out = frozenset(number for window in windows for number in window.held_out)
        """Iterations to test with, which training never sees."""
        self.validation = frozenset(number for window in windows for number in window.validation)
        """Iterations to select by, which training never sees either."""
        self.aside = self.held_out | self.validation
        """Both."""
        self._first = [window.iterations[0] for window in windows]

    @classmethod
    def in_time(
        cls,
        iterations: Sequence[int],
        tasks: int,
        holdout: float,
        validation: float | None = None,
    ) -> Self:
        """Cut iterations into consecutive tasks of equal length, the held-out ones spread evenly.

        Parameters
        ----------
        iterations
            What the producer is to write, ascending; for a live producer of unknown length, the
            range that training is to cover, such as ``range(0, 50_000, 100)``.
        tasks
            Number of windows.
        holdout
            Part of each window to hold out; between 0 and 1.
        validation
            Part of each window to select by, none of it held out to test with; None or 0: none.

        Raises
        ------
        ValueError
            If the iterations do not ascend, or there are too few of them for the tasks.
        """
        windows = []
        for places in split_by_time(len(iterations), tasks):
            rest, held_out = hold_out_evenly(places, holdout)
            _, selecting = validate_evenly(rest, validation, of=len(places))
            numbers = [int(iterations[place]) for place in places]
            name = f"iterations {numbers[0]}–{numbers[-1]}"
            kept, validated = (
                tuple(int(iterations[place]) for place in part) for part in (held_out, selecting)
            )
            windows.append(Window(name, tuple(numbers), kept, validated))
        return cls(windows)

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.windows)

    @property
    def first(self) -> int:
        """First iteration of the first task."""
        return self.iterations[0]

    @property
    def last(self) -> int:
        """Last iteration of the last task."""
        return self.iterations[-1]

    def task_of(self, iteration: int) -> int:
        """Return the task of an iteration.

        Raises
        ------
        ValueError
            If it is before the first task or after the last.
        """
        if not self.first <= iteration <= self.last:
            raise ValueError(
                f"iteration {iteration} is outside the tasks, which cover {self.first} to "
                f"{self.last}; let them cover what the producer writes"
            )
        return bisect_right(self._first, iteration) - 1

    def name(self, task: int) -> str:
        """Return what figures call a task."""
        return self.windows[task].name

    def trained(self, task: int) -> list[int]:
        """Return the iterations of a task that are trained on."""
        window = self.windows[task]
        return [number for number in window.iterations if number not in self.aside]

    def count_between(self, first: int, last: int) -> int:
        """Return how many iterations of the tasks are among these, both included."""
        return bisect_right(self.iterations, last) - bisect_left(self.iterations, first)

    def count_through(self, iteration: int) -> int:
        """Return how many iterations of the tasks are through with this one."""
        return bisect_right(self.iterations, iteration)
