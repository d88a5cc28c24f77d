"""What a rank computes where it has no sample, and all ranks must compute together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

_computed: Callable[[], Tensor] | None = None


@contextmanager
def standing_in(computed: Callable[[], Tensor]) -> Iterator[None]:
    """Have means over no sample computed by this in the block, for their gradient of zero.

    Where each rank holds a part of the weights, those gather them that compute, and add up their
    gradients: a rank that did nothing would leave the others waiting.

    Parameters
    ----------
    computed
        Returns a finite scalar by the passes through the learner that the others make.
    """
    global _computed
    before, _computed = _computed, computed
    try:
        yield
    finally:
        _computed = before


def stand_in() -> Tensor | None:
    """Return a scalar that counts for nothing; None where nothing needs to be computed."""
    return None if _computed is None else _computed()
