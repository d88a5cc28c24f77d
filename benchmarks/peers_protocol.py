"""What the comparison asks of a training in another process, and what that answers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Run:
    """One training.

    Parameters
    ----------
    method
        Name in :mod:`insituml.methods`.
    strength
        λ of the penalty ``λ/2 Σ F (θ − θ*)²`` of EWC and SI, weight of distillation.
    seed
        Of the weights, the order of the samples, and the method.
    mended
        On Avalanche's side: repair what keeps the method from working on a reconstruction.
    """

    method: str
    strength: float
    seed: int
    mended: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one run showed; ``fails`` holds the error of one that cannot train."""

    seconds_a_step: float = float("nan")
    step_seconds: float = float("nan")
    matrix: list[list[float]] = field(default_factory=list)
    peak_mb: float = float("nan")
    growth_mb: float = float("nan")
    note: str = ""
    fails: str = ""
