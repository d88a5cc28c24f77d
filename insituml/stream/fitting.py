"""Whether a simulation may join the others of its ensemble."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from insituml.stream.events import NoProducerError
from insituml.stream.member import ABSENT, OPENED, OPENING, Member
from insituml.stream.source import Description

if TYPE_CHECKING:
    from insituml.stream.ensemble import EnsembleStream


def shared_description(stream: EnsembleStream) -> Description | None:
    """Return what the first one says; in turn, once all have spoken that were asked."""
    members = stream.members.values()
    if stream.description is not None or (
        stream.in_turn and any(m.state == OPENING for m in members)
    ):
        return stream.description
    rings = [m.ring for m in members if m.state == OPENED]
    return next((ring.describe() for ring in rings if ring is not None), None)


def waits_for_all(stream: EnsembleStream, opened: Sequence[Member]) -> bool:
    """Return whether some are missing without whom the order of the others is not known.

    Raises
    ------
    NoProducerError
        If they have not come within the open timeout.
    """
    there = len(stream.simulations()) + sum(member.number < 0 for member in opened)
    if there >= stream.most:
        return False
    if time.monotonic() - stream.begun > stream.open_timeout:
        told = [f"; {m.name} {m.why}" for m in stream.members.values() if m.state == ABSENT]
        raise NoProducerError(
            f"{there} of {stream.most} simulations are there after {stream.open_timeout:g} s, but "
            f"a fixed order is that of all{''.join(told)}"
        )
    return True


def fault_of(stream: EnsembleStream, member: Member) -> str:
    """Return why a simulation cannot join; nothing: it can."""
    if fault := _misfit(member, stream.describe(), stream.expected, exactly=stream.in_turn):
        return fault
    if missing := [name for name in stream.required if name not in member.parameters]:
        return f"it does not say its {', '.join(missing)}"
    if member.number < 0 and stream.is_complete:
        return f"{stream.most} simulations have joined, which is as many as there may be"
    return ""


def _misfit(member: Member, first: Description, expected: Sequence[int], *, exactly: bool) -> str:
    """Return why what a producer describes is of another kind; nothing: it is not.

    It may have fewer iterations, such as one that was started again: what it lacks is then lost.
    Where the order is that of all, new ones must have the same.
    """
    assert member.ring is not None
    its = member.ring.describe()
    for what in ("components", "shape", "units"):
        if getattr(its, what) != getattr(first, what):
            return f"its {what} are {getattr(its, what)}, those here {getattr(first, what)}"
    # Not the origin: a moving window has come somewhere else by the time it is described.
    if its.grid is not None and first.grid is not None:
        pairs = zip(its.grid.spacing, first.grid.spacing, strict=True)
        if not all(math.isclose(*pair, rel_tol=1e-6) for pair in pairs):
            return f"its spacing is {its.grid.spacing}, that here {first.grid.spacing}"
        if its.grid.axis_labels != first.grid.axis_labels:
            return f"its axes are {its.grid.axis_labels}, those here {first.grid.axis_labels}"
    if strays := _strays(its.iterations or (), expected):
        return f"it has iteration {strays[0]}, which those here have not: do periods differ?"
    announced = (its.iterations, first.iterations)
    if exactly and not member.has_joined and None not in announced and announced[0] != announced[1]:
        return "its iterations are others than those here, and a fixed order wants the same of all"
    if changed := member.changed_parameters():
        return f"{changed}: another simulation"
    return ""


def _strays(iterations: Sequence[int], expected: Sequence[int]) -> list[int]:
    """Return the iterations within the range of those to come that are none of these."""
    known = frozenset(expected)
    return [n for n in iterations if expected[0] <= n <= expected[-1] and n not in known]
