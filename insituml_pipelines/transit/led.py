"""What the first of several ranks calls of a stream and its runs, and the others of theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from insituml.in_transit import Arrivals

Function = TypeVar("Function", bound=Callable[..., Any])


class Led(Protocol):
    """What each rank has one of: a stream, or a run."""

    arrivals: Arrivals | None

    @property
    def name(self) -> str:
        """What the first rank calls it."""
        ...


def led(function: Function) -> Function:
    """Let a function of a stream or a run be called on all ranks, where there are several.

    It calls no other such function. Of samples that are dealt, the others take their own share.
    """

    @wraps(function)
    def call(thing: Led, *arguments: Any) -> Any:
        from insituml import ranks

        if ranks.size() > 1 and ranks.rank() == 0:
            normalisation = thing.arrivals and thing.arrivals.normalisation
            told = [_without_samples(argument) for argument in arguments]
            ranks.told((thing.name, function.__name__, told, normalisation))
        return function(thing, *arguments)

    return call  # type: ignore[return-value]


def _without_samples(argument: Any) -> Any:
    from insituml.in_transit import Dealt

    return Dealt((), argument.count) if isinstance(argument, Dealt) else argument


def with_samples(argument: Any, share: Any) -> Any:
    """Return an argument as the first rank was given it, with this rank's share in its place."""
    from insituml.in_transit import Dealt

    return share if isinstance(argument, Dealt) else argument
