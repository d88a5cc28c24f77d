"""Learning rates that change as training goes on: each a formula and its name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


def _cosine(done: float, schedule: Schedule) -> float:
    """Half a period of the cosine, from 1 to the final rate."""
    return schedule.final_rate + (1 - schedule.final_rate) * (1 + math.cos(math.pi * done)) / 2


def _decay(done: float, schedule: Schedule) -> float:
    """Stay at 1, then go straight down to the final rate in the last share of the steps."""
    into = max(0.0, done - (1 - schedule.decay_share)) / schedule.decay_share
    return 1 - (1 - schedule.final_rate) * into


WITH_AN_END: dict[str, Callable[[float, Schedule], float]] = {"cosine": _cosine, "decay": _decay}
"""Factors by which share of the steps after the warm-up is done."""
NAMES = ("constant", "inverse_sqrt", *WITH_AN_END)


@dataclass(frozen=True)
class Schedule:
    """By which factor the optimizer's own learning rate is multiplied at each step.

    All begin with a linear warm-up. ``constant`` and ``inverse_sqrt`` count the steps of the whole
    run and need no end of it. ``cosine`` and ``decay`` begin anew with each task, and end with it;
    of a method that learns all tasks at once they make a single curve over its whole training.

    Parameters
    ----------
    name
        ``"constant"``; ``"inverse_sqrt"``, ``sqrt(warmup_steps / step)`` after the warm-up;
        ``"cosine"``, half a period from 1 to ``final_rate``; or ``"decay"``, constant and then
        straight down to ``final_rate``.
    warmup_steps
        Steps in which the factor rises to 1; of ``cosine`` and ``decay``, no more than half of
        theirs.
    final_rate
        Factor at the end of ``cosine`` and ``decay``, in [0, 1].
    decay_share
        Share of the steps after the warm-up in which ``decay`` goes down, in (0, 1].

    Raises
    ------
    ValueError
        If there is no such schedule, or a number is out of its range; ``inverse_sqrt`` wants a
        warm-up, from whose end it falls.

    References
    ----------
    Loshchilov & Hutter, "SGDR", ICLR 2017 (cosine); Vaswani et al., "Attention is all you need",
    NeurIPS 2017 (inverse square root); Hu et al., "MiniCPM", COLM 2024 (constant, then decay).
    """

    name: str = "constant"
    warmup_steps: int = 0
    final_rate: float = 0.0
    decay_share: float = 0.2

    def __post_init__(self) -> None:
        """Check."""
        if self.name not in NAMES:
            raise ValueError(f"schedule is {self.name!r}; expected one of {', '.join(NAMES)}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps}; expected 0 or more")
        if self.name == "inverse_sqrt" and self.warmup_steps == 0:
            raise ValueError(
                "schedule is inverse_sqrt and warmup_steps 0; give the number of steps after which "
                "the rate falls, such as 100"
            )
        if not 0 <= self.final_rate <= 1:
            raise ValueError(f"final_rate is {self.final_rate}; expected 0 to 1")
        if not 0 < self.decay_share <= 1:
            raise ValueError(f"decay_share is {self.decay_share}; expected above 0, at most 1")

    @property
    def needs_end(self) -> bool:
        """Whether it must be known how many steps there will be."""
        return self.name in WITH_AN_END

    @property
    def changes_nothing(self) -> bool:
        """Whether the factor is always 1."""
        return self.name == "constant" and self.warmup_steps == 0

    def factor(self, step: int, steps: int | None = None) -> float:
        """Return the factor at a step.

        Parameters
        ----------
        step
            Steps before this one: of the run, or of the stretch where there is an end.
        steps
            Of the stretch; without meaning where there is no end. A step beyond has the last
            one's factor.

        Raises
        ------
        ValueError
            If there is an end and it is not given.
        """
        curve = WITH_AN_END.get(self.name)
        if curve is None:
            warmup = self.warmup_steps
            fall = math.sqrt(warmup / max(step + 1, warmup)) if self.name != "constant" else 1.0
            return min(1.0, (step + 1) / max(1, warmup)) * fall
        if steps is None:
            raise ValueError(f"schedule {self.name} has an end; say how many steps there are")
        step, warmup = min(step, steps - 1), min(self.warmup_steps, steps // 2)
        if step < warmup:
            return (step + 1) / warmup
        return curve((step - warmup) / (steps - warmup), self)


CONSTANT = Schedule()
"""The optimizer's own rate, always."""
