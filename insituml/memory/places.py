"""Which rows of a memory: numbers, or a slice where they follow each other."""

from __future__ import annotations

from torch import Tensor

from insituml.data.task import sent

Places = Tensor | slice


def simplest(places: Places) -> Places:
    """Return consecutive places as a slice."""
    if isinstance(places, slice) or len(places) == 0:
        return places
    first, last = int(places[0]), int(places[-1])
    if last - first != len(places) - 1 or not bool((places.diff() == 1).all()):
        return places
    return slice(first, last + 1)


def taken(values: Tensor, places: Places) -> Tensor:
    """Return the values at these places; of a slice, a view."""
    if isinstance(places, slice):
        return values[places]
    # Copies whole rows at once; values[places] takes up to six times as long.
    return values.index_select(0, sent(places, values.device))
