"""Whose iteration is next, of several simulations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from insituml.data.ensemble import Ensemble
from insituml.data.step import Step
from insituml.data.windows import TaskWindows
from insituml.stream.events import Rejected
from insituml.stream.member import ABSENT, OPENED, OPENING, RUNNING, Member

if TYPE_CHECKING:
    from insituml.stream.ensemble import EnsembleStream


def next_that_came(
    stream: EnsembleStream, ensemble: Ensemble, windows: TaskWindows
) -> Member | None:
    """Return, of those with an iteration of this task, who has sent the fewest; None: wait.

    The next task begins once each simulation that is there has come to it; those that open, or are
    started again, are waited for. The task of what lies outside all tasks is the nearest one.
    """
    members = [m for m in stream.members.values() if m.pending]
    ready = {m.name: _task(m, ensemble, windows) for m in members}
    if not ready:
        return None
    if min(ready.values()) > stream.task and _are_awaited(stream, ensemble, windows):
        return None
    task = max(stream.task, min(ready.values()))
    return min(
        (m for m in members if ready[m.name] <= task),
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
        if member.pending or member.number < 0 or not _may_bring_more(member, stream):
            continue
        if ensemble.number(member.number, member.next_iteration()) < first:
            return None
    return heads[first] if stream.is_complete else None


def is_ready(stream: EnsembleStream, ensemble: Ensemble, windows: TaskWindows) -> bool:
    """Return whether one can be chosen, as far as that is known before producers are listened to.

    What waits for a later task, or for its turn, does not count.
    """
    choose = next_in_turn if stream.in_turn else next_that_came
    if choose(stream, ensemble, windows) is not None:
        return True
    spoke = [
        m
        for m in stream.members.values()
        if m.state == RUNNING and not m.pending and m.ring is not None and m.ring.ready()
    ]
    if stream.in_turn or not spoke:
        return bool(spoke)
    coming = (_task_of(m, m.next_iteration(), ensemble, windows) for m in spoke)
    return min(coming) <= stream.task or not _are_awaited(stream, ensemble, windows)


def _may_bring_more(member: Member, stream: EnsembleStream) -> bool:
    if member.state == ABSENT:
        waited = time.monotonic() - member.since
        return stream.recruits.may_come(member.name) and waited < stream.join_timeout
    return member.is_live


def _are_awaited(stream: EnsembleStream, ensemble: Ensemble, windows: TaskWindows) -> bool:
    """Return whether one that is there, or starts again, may still bring one of this task."""
    for member in stream.members.values():
        starts_again = stream.recruits.goes_on and stream.recruits.may_come(member.name)
        if member.pending or not (member.is_live or (member.state == ABSENT and starts_again)):
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
