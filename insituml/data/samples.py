"""Labelled samples in memory, and the tasks that a stream of them is cut into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from insituml.data.split import (
    hold_out_randomly,
    split_by_label,
    split_by_time,
    validate_randomly,
)


@dataclass(frozen=True)
class Samples:
    """A data set held in memory, such as points or images.

    Parameters
    ----------
    inputs
        ``(n, components, ...)`` float32.
    labels
        ``(n, ...)``, one row a sample.
    iterations
        ``(n,)`` int64: the iteration of the stream at which each sample is seen.
    held_out
        ``(n,)`` bool: the samples that were published to test with; None: there are none.
    pixel_orders
        ``(number of iterations, pixels)``: the order in which each iteration shows an image's
        pixels, so that an iteration must be a task of its own; None: all as they are.
    """

    inputs: np.ndarray
    labels: np.ndarray
    iterations: np.ndarray
    held_out: np.ndarray | None = None
    pixel_orders: np.ndarray | None = None


@dataclass(frozen=True)
class SampleTask:
    """The rows of one task.

    Parameters
    ----------
    name
        What figures call the task.
    train, test, validation
        Rows of the data set to learn from, and those that training never sees: to test with, and
        to select by.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    validation: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def tasks_in_time(
    samples: Samples,
    tasks: int,
    holdout: float | None,
    seed: int,
    validation: float | None = None,
) -> list[SampleTask]:
    """Cut samples into consecutive tasks by the iteration at which each is seen.

    Parameters
    ----------
    samples
        The data set.
    tasks
        Number of tasks.
    holdout
        Part of each task to hold out at random; None: what the data set says.
    seed
        Of the choice.
    validation
        Part of each task to select by, at random among what is not held out; None or 0: none.

    Raises
    ------
    ValueError
        If there are fewer iterations than tasks, a task would mix permutations of pixels, or has no
        sample to train on or none to hold out.
    """
    windows = split_by_time(int(samples.iterations.max()) + 1, tasks)
    names = [f"iterations {window[0]}–{window[-1]}" for window in windows]
    if samples.pixel_orders is not None:
        if len(windows) < len(samples.pixel_orders):
            raise ValueError(
                f"{tasks} tasks would mix permutations in one; set data.split.tasks to their "
                f"number, {len(samples.pixel_orders)}"
            )
        names = [f"permutation {k}" for k in range(len(windows))]
    groups = [np.flatnonzero(np.isin(samples.iterations, window)) for window in windows]
    return _in_parts(samples, names, groups, holdout, seed, validation)


def tasks_by_label(
    samples: Samples,
    groups: Sequence[Sequence[int]],
    holdout: float | None,
    seed: int,
    validation: float | None = None,
) -> list[SampleTask]:
    """Make one task of each group of labels; other parameters as :func:`tasks_in_time`."""
    rows = split_by_label(samples.labels, groups)
    names = [_label_name(group) for group in groups]
    return _in_parts(samples, names, rows, holdout, seed, validation)


def _in_parts(
    samples: Samples,
    names: Sequence[str],
    groups: Sequence[np.ndarray],
    holdout: float | None,
    seed: int,
    validation: float | None,
) -> list[SampleTask]:
    generator = np.random.default_rng(seed)
    selecting = np.random.default_rng([seed, 1])  # of its own: the test part stays what it is
    tasks = []
    for name, rows in zip(names, groups, strict=True):
        if holdout is not None:
            rest, test = hold_out_randomly(rows, holdout, generator)
        else:
            rest, test = _published_parts(samples, name, rows)
        train, validated = validate_randomly(rest, validation, len(rows), selecting)
        tasks.append(SampleTask(name, train, test, validated))
    return tasks


def _published_parts(
    samples: Samples, name: str, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if samples.held_out is None:
        raise ValueError(
            "there are no test data of their own; set data.split.holdout to the part to hold out, "
            "such as 0.2"
        )
    published = samples.held_out[rows]
    if published.all() or not published.any():
        raise ValueError(
            f"{name} has {np.count_nonzero(~published)} samples to train on and "
            f"{np.count_nonzero(published)} to test with; a task needs both"
        )
    return rows[~published], rows[published]


def _label_name(group: Sequence[int]) -> str:
    """Name a group of labels; figures have no room for a long list."""
    first, last = min(group), max(group)
    if len(group) > 2 and sorted(group) == list(range(first, last + 1)):
        return f"labels {first}–{last}"
    return "labels " + ", ".join(map(str, group))
