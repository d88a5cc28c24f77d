"""What a training loop says while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochRecord:
    """What the loop says after each epoch: one loss per step, from ``first_step`` on.

    ``planned`` are the steps of the whole task, as far as they are known.
    """

    task: int
    epoch: int
    epochs: int
    first_step: int
    losses: tuple[float, ...]
    planned: int = 0


@dataclass(frozen=True)
class TaskRecord:
    """What the loop says after each task; ``seconds`` include the method's own work.

    ``steps`` are batches that were looked at, where ``by_gradient`` is false.
    ``note`` is the method's: what is to be known of how it went. ``samples_seen`` are those of the
    stream in all steps, ``samples_replayed`` those that the method drew from its memory for them.
    ``flops`` are of all of it, the method's own passes included.
    """

    task: int
    name: str
    steps: int
    loss: float
    seconds: float
    note: str = ""
    samples_seen: int = 0
    samples_replayed: int = 0
    flops: int = 0
    by_gradient: bool = True


Report = Callable[[EpochRecord | TaskRecord], None]


class DivergedError(RuntimeError):
    """The loss became NaN or infinite."""


def check_finite(loss: float, where: str) -> None:
    """Refuse to go on with a loss that is not finite.

    Raises
    ------
    DivergedError
        Saying ``where``, and what may help.
    """
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss became {loss} in {where}; try a smaller learning rate, a max_gradient_norm, "
            "or a weaker penalty"
        )
