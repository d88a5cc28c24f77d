"""From an ordered stream to tasks, each with a part that training never sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def split_by_time(iterations: int, tasks: int) -> list[np.ndarray]:
    """Cut iterations 0, 1, ... into consecutive tasks whose lengths differ by one at most.

    Parameters
    ----------
    iterations
        Number of iterations in the stream.
    tasks
        Number of tasks; the first ones take the remainder.

    Returns
    -------
    list
        The places of each task's iterations, 0 being the first.

    Raises
    ------
    ValueError
        If there are fewer iterations than tasks, or no task.
    """
    if not 1 <= tasks <= iterations:
        raise ValueError(
            f"{tasks} tasks of {iterations} iterations; expected between 1 and {iterations} tasks"
        )
    return np.array_split(np.arange(iterations), tasks)


def split_by_label(labels: np.ndarray, groups: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Return the rows of each group of labels.

    Parameters
    ----------
    labels
        ``(n,)`` integers.
    groups
        Labels of each task.

    Raises
    ------
    ValueError
        If a group has no sample, or a label is in two groups.
    """
    flat = [label for group in groups for label in group]
    if len(flat) != len(set(flat)):
        raise ValueError(f"a label stands twice in the groups {list(map(list, groups))}")
    rows = [np.flatnonzero(np.isin(labels, list(group))) for group in groups]
    for group, members in zip(groups, rows, strict=True):
        if len(members) == 0:
            raise ValueError(
                f"no sample has a label of the group {list(group)}; the labels are "
                f"{np.unique(labels).tolist()}"
            )
    return rows


def hold_out_evenly(items: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Set aside items spread evenly, for items whose neighbours are alike, as iterations are.

    Returns
    -------
    training, held_out
        Both in order; at least one item each.

    Raises
    ------
    ValueError
        If there are fewer than two items, or the fraction is outside (0, 1).
    """
    count = _held_out_count(len(items), fraction)
    places = ((np.arange(count) + 0.5) * len(items) / count).astype(np.int64)
    chosen = np.zeros(len(items), dtype=bool)
    chosen[places] = True
    return items[~chosen], items[chosen]


def hold_out_randomly(
    items: np.ndarray, fraction: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Set aside items at random; otherwise like :func:`hold_out_evenly`."""
    count = _held_out_count(len(items), fraction)
    chosen = np.zeros(len(items), dtype=bool)
    chosen[generator.permutation(len(items))[:count]] = True
    return items[~chosen], items[chosen]


def validate_evenly(
    items: np.ndarray, fraction: float | None, of: int
) -> tuple[np.ndarray, np.ndarray]:
    """Set aside, of what is left to train on, a part to select by; spread evenly.

    Parameters
    ----------
    items
        Those that are not held out to test with.
    fraction
        Of all items of the task; None or 0: none.
    of
        Number of all items of the task.

    Returns
    -------
    training, validation
        Both in order; at least one item each, where there is a fraction.

    Raises
    ------
    ValueError
        If nothing would be left to train on, or the fraction is outside [0, 1).
    """
    count = _validation_count(len(items), fraction, of)
    places = ((np.arange(count) + 0.5) * len(items) / max(1, count)).astype(np.int64)
    chosen = np.zeros(len(items), dtype=bool)
    chosen[places] = True
    return items[~chosen], items[chosen]


def validate_randomly(
    items: np.ndarray, fraction: float | None, of: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Set aside a part to select by at random; otherwise like :func:`validate_evenly`."""
    count = _validation_count(len(items), fraction, of)
    chosen = np.zeros(len(items), dtype=bool)
    chosen[generator.permutation(len(items))[:count]] = True
    return items[~chosen], items[chosen]


def _validation_count(items: int, fraction: float | None, of: int) -> int:
    if fraction is None or fraction == 0:
        return 0
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"the validation fraction is {fraction}; expected between 0 and 1")
    count = max(1, round(fraction * of))
    if count >= items:
        raise ValueError(
            f"a task has {of} items, of which {items} are not held out: no room for {count} to "
            "validate with and one to train on; set data.split.validation to null or lower, or use "
            "fewer tasks"
        )
    return count


def _held_out_count(items: int, fraction: float) -> int:
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"the held-out fraction is {fraction}; expected between 0 and 1")
    if items < 2:
        raise ValueError(
            f"a task has {items} item(s); it needs one to train on and one to hold out: use fewer "
            "tasks or more data"
        )
    return min(items - 1, max(1, round(fraction * items)))
