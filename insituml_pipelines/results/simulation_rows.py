"""What is kept of the errors on each simulation of an ensemble."""

from __future__ import annotations

from typing import NamedTuple

FILE = "simulation_errors.csv"
"""Among the evaluations of a method, and the results."""
MAIN = "relative_l2"


class SimulationRow(NamedTuple):
    """One error of one simulation."""

    method: str
    seed: int
    simulation: str
    samples: int
    metric: str
    value: float
