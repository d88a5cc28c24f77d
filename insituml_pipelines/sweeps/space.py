"""The space of a search: values as Hydra writes them, as Optuna's distributions, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from insituml_pipelines.common.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LOG = "log"
"""The tag of what is searched by its logarithm: ``tag(log,interval(1,1000))``."""


def space_of(overrides: Sequence[str]) -> dict[str, BaseDistribution]:
    """Return the distribution of each key that varies, with Hydra's ``++`` before it, if given.

    Raises
    ------
    UserError
        If bounds are in the wrong order, or have no logarithm.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {o.get_key_element(): _distribution(o) for o in parsed if o.is_sweep_override()}


def job_overrides(overrides: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Return the overrides of a job: what varies with its value, all else as it was given."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [
        f"{key}={values[key]}" if (key := override.get_key_element()) in values else given
        for given, override in zip(overrides, parsed, strict=True)
    ]


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    given, sweep = override.input_line, override.value()
    if not isinstance(sweep, IntervalSweep | RangeSweep):
        return CategoricalDistribution(list(map(str, override.sweep_string_iterator())))
    log = LOG in sweep.tags
    if isinstance(sweep, IntervalSweep):
        low, high, step = sweep.start, sweep.end, None
    else:
        values = list(map(float, override.sweep_string_iterator()))
        low, high, step = min(values), max(values), abs(sweep.step)
    assert low is not None
    assert high is not None
    if not low < high:
        raise UserError(f"{given} begins at {low} and ends at {high}; the smaller one comes first")
    if log and (low <= 0 or (step is not None and step != 1)):
        raise UserError(
            f"{given} is searched by the logarithm, which takes interval(), or range() in steps of "
            "1, above 0"
        )
    if all(isinstance(bound, int) for bound in _bounds(sweep)):
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(float(low), float(high), log=log, step=step)


def _bounds(sweep: IntervalSweep | RangeSweep) -> tuple[Any, ...]:
    if isinstance(sweep, RangeSweep):
        return sweep.start, sweep.stop, sweep.step
    return sweep.start, sweep.end
