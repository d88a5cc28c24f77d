"""Joint training: the upper bound every method is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from insituml.data.task import Task, check_same_columns, concatenated
from insituml.methods.base import Method


class Joint(Method):
    """Train one model on all tasks at once, for as many epochs as each task would have had.

    The epochs are dealt out evenly over as many segments as there are tasks, each followed by a
    checkpoint, so that a killed run resumes. The last checkpoint is the bound; the earlier ones
    show its progress and say nothing about forgetting. All training data are held in memory.
    """

    sequential = False
    keeps_all_data = True
    is_bound = True
    learns_in_transit = False
    learns_sharded = True

    def schedule(self, tasks: Sequence[Task], epochs: int) -> Iterator[tuple[Task, int]]:
        for task in tasks:
            check_same_columns(tasks[0].train, task.train)
        columns = zip(*(task.train for task in tasks), strict=True)
        train = tuple(concatenated(column) for column in columns)
        for k, task in enumerate(tasks):
            before, after = k * epochs // len(tasks), (k + 1) * epochs // len(tasks)
            name, seen = f"all tasks, part {k + 1} of {len(tasks)}", len(train[0]) * (before > 0)
            yield Task(k, name, train, task.test, seen), after - before
