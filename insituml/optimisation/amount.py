"""How much a task is trained on: passes over its samples, and steps of the optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from insituml.trainable import check_count


@dataclass(frozen=True)
class Amount:
    """Passes and steps, from numbers of samples.

    Parameters
    ----------
    batch_size
        Samples of one forward and backward pass.
    epochs
        Passes over a task's samples, where there is no budget.
    budget
        Samples of each task that are trained on, repeated ones counted each time, replayed ones
        not; the last pass over the task ends where it is spent. None: ``epochs`` decides.
    accumulate
        Batches whose gradients make one step.

    Raises
    ------
    ValueError
        If a number is no whole one of 1 or more.
    """

    batch_size: int
    epochs: int = 1
    budget: int | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        """Check."""
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        check_count("accumulate", self.accumulate)
        if self.budget is not None:
            check_count("budget", self.budget)

    @property
    def step_size(self) -> int:
        """Samples of one step."""
        return self.batch_size * self.accumulate

    def passes(self, samples: int, epochs: int, *, join_lone: bool = False) -> tuple[int, int]:
        """Return how many passes there are, and how many samples the last one takes.

        Parameters
        ----------
        samples
            That a task has.
        epochs
            Passes, where there is no budget.
        join_lone
            Whether no batch may have a single sample, as batch normalisation wants it; what is
            left of a budget is then not spent on one.
        """
        if self.budget is None:
            return epochs, samples
        count = math.ceil(self.budget / samples)
        last = self.budget - (count - 1) * samples
        if join_lone and last == 1 and count > 1:
            return count - 1, samples
        return count, last

    def steps(self, samples: int, epochs: int, *, join_lone: bool = False) -> int:
        """Return how many steps a task takes; parameters as in :meth:`passes`."""
        passes, last = self.passes(samples, epochs, join_lone=join_lone)
        if passes == 0:
            return 0
        whole, rest = (parts(n, self.step_size, join_lone=join_lone) for n in (samples, last))
        return (passes - 1) * len(whole) + len(rest)


def parts(count: int, size: int, *, join_lone: bool = False) -> list[int]:
    """Return the sizes of the parts of ``count`` samples, each of ``size`` but for the last.

    Parameters
    ----------
    join_lone
        Whether a last sample that would stand alone joins the part before it.
    """
    full, rest = divmod(count, size)
    if rest == 1 and full > 0 and join_lone:
        return [size] * (full - 1) + [size + 1]
    return [size] * full + [rest] * (rest > 0)
