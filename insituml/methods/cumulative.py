"""Cumulative training: each task together with all tasks before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from insituml.data.task import Task, joined
from insituml.methods.base import Method


class Cumulative(Method):
    """Train on all tasks so far whenever a new one arrives: what unlimited storage would give.

    Unlike :class:`~insituml.methods.Joint` it meets the tasks in order, so its loss matrix shows
    transfer and forgetting. An epoch passes over all samples so far: a later task takes more
    steps. All training data are held in memory.
    """

    keeps_all_data = True
    is_bound = True
    learns_in_transit = False
    learns_sharded = True

    def schedule(self, tasks: Sequence[Task], epochs: int) -> Iterator[tuple[Task, int]]:
        so_far, seen = tasks[0].train, 0
        for k, task in enumerate(tasks):
            if k > 0:
                seen = len(so_far[0])
                so_far = joined(so_far, task.train)
            yield Task(task.index, task.name, so_far, task.test, seen), epochs
