"""Which numbers an option of insituml's own classes may be, so that none is found out in training.

Names mean the same wherever they stand; an option that lists numbers is checked number by number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

OURS = ("insituml.", "torch.optim.")
"""Whose options these are; a user's own class may mean something else."""
LARGEST = 10**12


@dataclass(frozen=True)
class Domain:
    """Numbers from ``low`` to ``high``, the ends included where they are said to be."""

    words: str
    low: float
    high: float = math.inf
    with_low: bool = True
    with_high: bool = True
    whole: bool = False

    def __contains__(self, number: float) -> bool:
        above = number >= self.low if self.with_low else number > self.low
        below = number <= self.high if self.with_high else number < self.high
        return above and below and not (self.whole and number != int(number))


COUNT = Domain("a whole number of at least 1", 1, LARGEST, whole=True)
COUNT_OR_0 = Domain("a whole number of at least 0", 0, LARGEST, whole=True)
SEED = Domain("a whole number of at least 0", 0, 2.0**64, with_high=False, whole=True)
POSITIVE = Domain("a number above 0", 0, with_low=False)
AT_LEAST_0 = Domain("a number of at least 0", 0)
SHARE = Domain("a share, above 0 and at most 1", 0, 1, with_low=False)
RATE = Domain("a number from 0 to 1", 0, 1)
BELOW_1 = Domain("a number from 0 to below 1", 0, 1, with_high=False)
FINITE = Domain("a finite number", -math.inf)

DOMAINS: dict[str, Domain] = {
    **dict.fromkeys(
        (
            *("fisher_samples", "importance_samples", "samples", "chunk_size", "max_width"),
            *("memory_size", "replay_size", "reference_size", "candidates", "capacity_bytes"),
            *(
                "total_tasks",
                "rounds",
                "patience",
                "max_epochs",
                "fewest_epochs",
                "hidden_sizes",
                "latent_size",
                "channels",
                "convolutions",
            ),
            *("latent_channels", "hidden_size"),
            *("input_shape", "couplings", "bins", "shape", "points", "limit", "permutations"),
            *("nz", "nr", "modes", "snapshots", "steps_per_snapshot", "cartesian_points"),
            *("z_points", "particles_per_cell"),
        ),
        COUNT,
    ),
    "condition_size": COUNT_OR_0,
    "seed": SEED,
    **dict.fromkeys(
        (
            *("lr", "eps", "damping", "virtual_rate", "condition_scale", "spacing", "time_step"),
            *("wavelength", "waist", "pulse_length", "distance_per_iteration", "density"),
            *("radius", "half_width", "window_behind", "window_ahead", "rms_error"),
        ),
        POSITIVE,
    ),
    **dict.fromkeys(
        (
            *("strength", "alpha", "beta", "margin", "latent_weight", "weight_decay", "a0"),
            *("exponent", "duration", "ramp_start", "ramp_length", "plateau_length"),
        ),
        AT_LEAST_0,
    ),
    **dict.fromkeys(("threshold", "largest_share", "anneal_share"), SHARE),
    "gamma": RATE,
    **dict.fromkeys(("betas", "momentum", "decay", "min_improvement"), BELOW_1),
    **dict.fromkeys(("origin", "window_velocity", "focus"), FINITE),
}


def out_of_domain(target: str, key: str, value: Any, place: str) -> str:
    """Say what is wrong with an option's number; empty where nothing is.

    Parameters
    ----------
    target
        Full name of what takes the option.
    key, value, place
        The option, what it was given, and its dotted name.
    """
    ours = target.startswith(OURS)
    domain = DOMAINS.get(key) if ours else None
    if domain is None:
        bad = [n for n in _numbers(value) if isinstance(n, float) and not math.isfinite(n)]
        return f"{place} is {value!r}; expected a finite number" if ours and bad else ""
    for number in _numbers(value):
        if isinstance(number, bool) or not isinstance(number, int | float):
            return f"{place} is {value!r}; expected {domain.words}"
        if not math.isfinite(number) or number not in domain:
            return f"{place} is {value!r}; expected {domain.words}"
    return ""


def _numbers(value: Any) -> Iterator[Any]:
    """Yield what is no list among a value and, where it is a list, its entries."""
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _numbers(entry)
    elif value is not None and not isinstance(value, dict):
        yield value
