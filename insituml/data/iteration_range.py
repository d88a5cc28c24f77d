"""Choose iterations by the first, the last and the number from one to the next."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class IterationRange:
    """Every ``period``-th iteration from ``first`` through ``last``; all where it is None.

    Parameters
    ----------
    first, last, period
        Whole numbers; those that the simulation counts by.
    """

    first: int
    last: int
    period: int

    @classmethod
    def of(cls, given: Sequence[int] | None) -> Self | None:
        """Return ``[first, last, period]`` as a range; None stays None.

        Raises
        ------
        ValueError
            If these are not three whole numbers, the last is below the first, or the period below
            1.
        """
        if given is None:
            return None
        wrong = f"iterations={list(given)} must be [first, last, period]"
        try:
            first, last, period = (operator.index(number) for number in given)
        except (TypeError, ValueError):
            raise ValueError(f"{wrong}: three whole numbers, such as [0, 1000, 100]") from None
        if any(isinstance(number, bool) for number in given):
            raise ValueError(f"{wrong}: three whole numbers, such as [0, 1000, 100]")
        if first < 0:
            raise ValueError(f"{wrong}: iterations count from 0")
        if last < first:
            raise ValueError(f"{wrong}: the last one is not below the first")
        if period < 1:
            raise ValueError(f"{wrong}: the period is 1 or more")
        return cls(first, last, period)

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last and (number - self.first) % self.period == 0

    def refuse_nothing(self, there: Iterable[int], where: str) -> None:
        """Raise a ValueError that names what there is, if nothing was chosen of it."""
        numbers = sorted(there)
        if any(number in self for number in numbers):
            return
        shown = [str(n) for n in numbers]
        if len(shown) > 6:
            shown = [*shown[:3], "...", *shown[-2:]]
        raise ValueError(
            f"iterations={[self.first, self.last, self.period]} chooses none of the "
            f"{len(numbers)} iterations of {where}: there are {', '.join(shown)}"
        )
