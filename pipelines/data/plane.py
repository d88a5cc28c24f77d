"""Which plane of a field its figures show."""

from __future__ import annotations

from collections.abc import Sequence


def plane_of(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the axes of a field's figure: upward, to the right, and the one it is cut across.

    The longest axis, along which the laser or the beam propagates, lies to the right.
    """
    right = max(range(3), key=lambda axis: (shape[axis], axis == 1))
    up, cut = (axis for axis in range(3) if axis != right)
    return up, right, cut
