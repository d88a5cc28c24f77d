"""Whose iteration is next, of several simulations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from insituml.data.ensemble import Ensemble
from insituml.data.step import Step
from insituml.data.windows import TaskWindows
from insituml.stream.events import Rejected
from insituml.stream.member import ABSENT, OPENED, OPENING, Member

if TYPE_CHECKING:
    from insituml.stream.ensemble import EnsembleStream


def next_that_came(
    stream: EnsembleStream, ensemble: Ensemble, windows: TaskWindows
) -> Member | None:
    """Return, of those with an iteration of this task, who has sent the fewest; None: wait.

    The next task begins once each simulation that is there has come to it; those that open are
    waited for. The task of what lies outside all tasks is the nearest one.
    """
    members = [m for m in stream.members.values() if m.is_live or m.pending]
    ready = {m.name: _task(m, ensemble, windows) for m in members if m.pending}
    if not ready:
        return None
    if min(ready.values()) > stream.task and _are_awaited(members, stream, ensemble, windows):
        return None
    task = max(stream.task, min(ready.values()))
    return min(
        (m for m in members if ready.get(m.name, task + 1) <= task),
        key=lambda m: (m.handed_on, m.number),
    )


def next_in_turn(stream: EnsembleStream, ensemble: Ensemble, windows: TaskWindows) -> Member | None:
    """Return who has the iteration with the smallest joint number of all to come; None: wait."""
    heads = {
        ensemble.number(m.number, _head(m).iteration): m
        for m in stream.members.values()
        if m.pending
    }
    if not heads:
        return None
    first = min(heads)
    for member in stream.members.values():
        if member.pending or not _may_bring_more(member, stream):
            continue
        if member.number < 0 or ensemble.number(member.number, member.next_iteration()) < first:
            return None
    missing = len(stream.members) < stream.most and stream.recruits.may_come()
    return None if missing else heads[first]


def _may_bring_more(member: Member, stream: EnsembleStream) -> bool:
    if member.state == ABSENT:
        waited = time.monotonic() - member.since
        return stream.recruits.may_come(member.name) and waited < stream.join_timeout
    return member.is_live


def _are_awaited(
    members: list[Member], stream: EnsembleStream, ensemble: Ensemble, windows: TaskWindows
) -> bool:
    """Return whether one that is there may still bring an iteration of this task."""
    for member in members:
        if member.pending:
            continue
        if member.state in (OPENING, OPENED):
            if not ensemble.by_simulation or member.number <= stream.task:
                return True
        elif _task_of(member, member.next_iteration(), ensemble, windows) <= stream.task:
            return True
    return False


def _task(member: Member, ensemble: Ensemble, windows: TaskWindows) -> int:
    return _task_of(member, _head(member).iteration, ensemble, windows)


def _task_of(member: Member, iteration: int, ensemble: Ensemble, windows: TaskWindows) -> int:
    if ensemble.by_simulation:
        return member.number
    number = ensemble.number(member.number, iteration)
    return windows.task_of(min(max(number, windows.first), windows.last))


def _head(member: Member) -> Step | Rejected:
    head = member.pending[0]
    assert isinstance(head, Step | Rejected)
    return head
