"""Gives an optimizer its learning rate before each step, as a schedule says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insituml.optimisation.schedule import CONSTANT, Schedule

BASE = "initial_lr"
"""Where the optimizer's own rate is kept, in its groups and so in its state: as torch's schedulers
name it. They are not used: they move the rate when they are made, and a stretch's length is known
only when it begins."""


class LearningRate:
    """The learning rate of an optimizer, from step to step.

    Where the schedule changes nothing, the optimizer is never touched.

    Parameters
    ----------
    optimizer
        Its groups' ``lr`` is what the schedule's factor multiplies.
    schedule
        Says which factor.
    done
        Steps that a resumed run has behind it.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Schedule = CONSTANT, *, done: int = 0
    ) -> None:
        self.optimizer = optimizer
        self.schedule = schedule
        self.done = done
        """Steps of the run so far."""
        self.length: int | None = None
        """Steps of the stretch that has begun; None: nobody knows."""
        self._in_stretch = 0

    def begin(self, length: int | None, *, done: int = 0) -> None:
        """Begin a stretch, such as a task.

        Parameters
        ----------
        length
            Its steps; None: nobody knows.
        done
            How many of them are behind already.

        Raises
        ------
        ValueError
            If the schedule has an end and the length is not known.
        """
        if length is None and self.schedule.needs_end:
            raise ValueError(
                f"schedule {self.schedule.name} needs to know how many steps a task has; where "
                "nobody does, use constant or inverse_sqrt"
            )
        self.length, self._in_stretch = length, done

    def advance(self) -> None:
        """Set the rate of the next step, and count it."""
        schedule = self.schedule
        if not schedule.changes_nothing:
            step = self._in_stretch if schedule.needs_end else self.done
            _set_rate(self.optimizer, schedule.factor(step, self.length))
        self.done += 1
        self._in_stretch += 1

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands; the optimizer's own state holds its rates."""
        return {"done": self.done, "length": self.length, "in_stretch": self._in_stretch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self.done, self.length = state["done"], state["length"]
        self._in_stretch = state["in_stretch"]


def _set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        rate = group["lr"]
        base = float(group.setdefault(BASE, float(rate)))
        if isinstance(rate, Tensor):  # of a captured graph, which reads it where it lies
            rate.fill_(base * factor)
        else:
            group["lr"] = base * factor


def scale_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Multiply all learning rates of an optimizer, and those that a schedule begins with."""
    for group in optimizer.param_groups:
        for key in ("lr", BASE):
            if isinstance(group.get(key), Tensor):  # of a captured graph, which reads it there
                group[key].mul_(factor)
            elif key in group:
                group[key] *= factor
