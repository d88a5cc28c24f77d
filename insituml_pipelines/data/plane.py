"""Which plane of a field its figures show, and of which iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest


def plane_of(shape: Sequence[int]) -> tuple[int | None, int, int | None]:
    """Return the axes of a field's figure: upward, to the right, and the one it is cut across.

    The longest axis, along which the laser or the beam propagates, lies to the right. A field of
    two axes is not cut, one of a single axis is a line: None.
    """
    axes = range(len(shape))
    # Of axes as long as each other the middle one of three, the last one of two.
    right = max(axes, key=lambda axis: (shape[axis], axis == 1))
    others = [axis for axis in axes if axis != right]
    up, cut = (*others, None, None)[:2]
    return up, right, cut


def shown_iteration(manifest: Manifest, task: int) -> int:
    """Return the iteration that figures show of a task: the middle one of those held out."""
    kept = [number for number in manifest.tasks[task].held_out if number in manifest.times]
    return kept[len(kept) // 2]
