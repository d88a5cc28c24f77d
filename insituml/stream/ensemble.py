"""Several simulations as one stream: whoever has something is listened to, nobody is waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from insituml.data.ensemble import Ensemble, Simulation, in_words
from insituml.data.step import Step
from insituml.data.windows import TaskWindows
from insituml.stream.ensemble_events import (
    DIED,
    FINISHED,
    JOINED,
    REFUSED,
    RESTARTED,
    STALLED,
    Change,
    EnsembleEvent,
)
from insituml.stream.events import Finished, NoProducerError, ProducerDied, Rejected
from insituml.stream.fitting import fault_of, shared_description, waits_for_all
from insituml.stream.member import ABSENT, DONE, OPENED, OPENING, Member
from insituml.stream.recruits import Recruits
from insituml.stream.slots import bytes_of, check_room
from insituml.stream.source import Description
from insituml.stream.turns import is_ready, next_in_turn, next_that_came
from insituml.stream.waiting import rest


class EnsembleStream:
    """Joins the producers of several simulations, each behind a ring of its own.

    Steps come with the joint number of their iteration (:class:`~insituml.data.ensemble.Ensemble`),
    and with ``"simulation"`` and ``"parameters"`` among their metadata. What happens to a
    simulation comes as :class:`Change`, what it loses as :class:`Lost`. The others go on.

    Tasks are learned one after the other: an iteration of a later task waits, and with it its
    producer, until each simulation that is there has come so far; one of an earlier task, of a
    simulation that came late, is handed on at once.

    Parameters
    ----------
    recruits
        Where the simulations come from.
    most
        Simulations at most.
    slots
        Of each ring.
    required
        Parameters without which a simulation is refused.
    in_turn
        Hand iterations on in the order of their joint numbers, waiting for each simulation, so that
        the order does not depend on who is faster. They begin once as many as there may be are
        there, numbered by name unless they are known beforehand. False: as they come, of those
        that are there from the simulation that has sent the fewest.
    open_timeout
        Seconds until the first one must have described its steps; in turn, all.
    join_timeout
        Seconds that one which may still come, or come again, is waited for when no other is there;
        in turn, whenever one is missing.
    """

    def __init__(
        self,
        recruits: Recruits,
        *,
        most: int,
        slots: int,
        required: Sequence[str] = (),
        in_turn: bool = False,
        open_timeout: float = 60.0,
        join_timeout: float = 60.0,
    ) -> None:
        self.recruits = recruits
        self.most = most
        self.slots = slots
        self.required = tuple(required)
        self.in_turn = in_turn
        self.open_timeout = open_timeout
        self.join_timeout = join_timeout
        self.members: dict[str, Member] = {}
        """By name, in the order in which they were found."""
        self.task = 0
        """The latest of which something was handed on."""
        self.lag: float | None = None
        """As :attr:`RingSource.lag`, of the simulation that was handed on last."""
        self.description: Description | None = None
        """What the steps of all share; None until :meth:`describe` has returned."""
        self._refused: set[str] = set()
        self._changes: list[EnsembleEvent] = []
        self._names: list[str] = []  # by number
        self.expected: Sequence[int] = ()
        """The iterations of one simulation that are to come, once they are read."""
        self._layout: tuple[Ensemble, TaskWindows] | None = None
        self.begun = time.monotonic()
        """When reading began."""

    def describe(self) -> Description:
        """Return what the steps of all share, as the first one says it, waiting for that.

        Raises
        ------
        NoProducerError
            If none comes within the open timeout, or all that came failed.
        """
        deadline = time.monotonic() + self.open_timeout
        while (found := shared_description(self)) is None:
            self._recruit()
            failed = [f"{m.name} {m.why}" for m in self.members.values() if m.state == ABSENT]
            live = any(m.is_live for m in self.members.values())
            if not live and not self.recruits.may_come():
                raise NoProducerError(f"no simulation could start: {failed[0] if failed else ''}")
            if time.monotonic() > deadline:
                problem = failed[0] if failed else "is any running, and in this folder?"
                raise NoProducerError(f"no simulation came in {self.open_timeout:g} s: {problem}")
            rest(self.members.values())
        self.description = found
        return found

    def simulations(self) -> tuple[Simulation, ...]:
        """Return those that have joined, by number."""
        known = (self.members[name] for name in self._names)
        return tuple(Simulation(member.name, member.parameters) for member in known)

    def joined(self) -> set[int]:
        """Return the numbers of those that are there or may come again; not of those given up."""
        known = (self.members[name] for name in self._names)
        return {member.number for member in known if not member.is_given_up}

    @property
    def is_complete(self) -> bool:
        """Whether as many have joined as there may be."""
        return len(self._names) >= self.most

    @property
    def bound_bytes(self) -> int:
        """Bytes of shared memory at most, all rings together."""
        return self.most * bytes_of(self.slots, self.describe().columns)

    def check_room(self) -> None:
        """Ask for the shared memory of all rings: see :meth:`RingSource.check_room`."""
        check_room(self.most * self.slots, self.describe().columns)

    def ready(self) -> bool:
        """Return whether something has come that need not wait for its task."""
        return self._layout is not None and is_ready(self, *self._layout)

    def events(
        self,
        ensemble: Ensemble,
        windows: TaskWindows,
        expected: Sequence[int],
        after: dict[str, Any] | None = None,
    ) -> Iterator[EnsembleEvent]:
        """Yield what comes, then one ending: :class:`Finished` if one simulation has finished.

        Parameters
        ----------
        ensemble, windows
            How iterations are numbered, and which task each is of.
        expected
            The iterations of one simulation that are to come, ascending.
        after
            What :meth:`state_dict` returned, to go on from there.

        Raises
        ------
        NoProducerError
            If in turn not all come within the open timeout.
        """
        self.expected, self._layout = expected, (ensemble, windows)
        self.begun = time.monotonic()
        self._resume(after or {})
        choose = next_in_turn if self.in_turn else next_that_came
        alone_since = time.monotonic()
        while True:
            self._recruit()
            self._join()
            for member in self.members.values():
                member.listen()
            yield from self._told()
            members = list(self.members.values())
            chosen = choose(self, ensemble, windows)
            if chosen is not None:
                event = chosen.hand_on()
                assert isinstance(event, Step | Rejected)
                number = ensemble.number(chosen.number, event.iteration)
                if windows.first <= number <= windows.last:
                    self.task = max(self.task, windows.task_of(number))
                self.lag = chosen.ring.lag if chosen.ring is not None else None
                yield _joint(event, number, chosen)
                chosen.passed(event)
                alone_since = time.monotonic()
                continue
            if any(m.is_live or m.pending for m in members):
                alone_since = time.monotonic()
            elif self._is_over(alone_since):
                break
            rest(self.members.values())
        yield from filter(None, (m.undelivered() for m in members))
        done = [m for m in members if m.state == DONE]
        yield Finished() if done else ProducerDied("; ".join(f"{m.name} {m.why}" for m in members))

    def state_dict(self) -> dict[str, Any]:
        """Return how far each simulation has been handed on, plain values."""
        members = [self.members[name] for name in self._names]
        return {"task": self.task, "members": {m.name: m.state_dict() for m in members}}

    def close(self) -> None:
        """End all producers."""
        for member in self.members.values():
            member.close()

    def __enter__(self) -> EnsembleStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _resume(self, after: dict[str, Any]) -> None:
        self.task = after.get("task", 0)
        for name, state in after.get("members", {}).items():
            member = self.members.setdefault(name, Member(name))
            self._number(member)
            member.load_state_dict(state)
            if member.state == DONE:
                self.recruits.left(name, FINISHED)
        for name in self.recruits.names():
            self._number(self.members.setdefault(name, Member(name)))

    def _number(self, member: Member) -> None:
        if member.number < 0:
            member.number, member.expected = len(self._names), self.expected
            self._names.append(member.name)

    def _recruit(self) -> None:
        """Open the producers that are there, and hear which of them describe their steps."""
        for name, parameters, ring in self.recruits.look():
            member = self.members.get(name)
            if member is None or member.state != DONE:
                member = self.members.setdefault(name, Member(name, parameters))
                member.open(ring)
        for member in self.members.values():
            if member.state == OPENING:
                try:
                    member.described()
                except NoProducerError as error:
                    member.fail(str(error))
                    self.recruits.left(member.name, DIED)
                    self._changes.append(Change(member.number, member.name, REFUSED, str(error)))

    def _join(self) -> None:
        """Number the new ones and let all begin that are open."""
        opened = [member for member in self.members.values() if member.state == OPENED]
        if self.in_turn and waits_for_all(self, opened):
            return
        for member in sorted(opened, key=lambda m: m.name if self.in_turn and m.number < 0 else ""):
            if fault := fault_of(self, member):
                member.fail(fault)
                self.recruits.left(member.name, DIED)
                if member.name not in self._refused:
                    self._refused.add(member.name)
                    self._changes.append(Change(-1, member.name, REFUSED, fault))
                continue
            self._number(member)
            asked = self.required or tuple(member.parameters)
            kind, words = JOINED, in_words({name: member.parameters[name] for name in asked})
            if member.has_joined:
                kind, words = RESTARTED, f"it goes on after iteration {member.last}"
            member.begin(from_last=self.recruits.goes_on)
            self._changes.append(Change(member.number, member.name, kind, words))

    def _told(self) -> Iterator[EnsembleEvent]:
        """Yield what is to be told at once: all but iterations."""
        changes, self._changes = self._changes, []
        yield from changes
        for member in self.members.values():
            while member.pending and not isinstance(member.pending[0], Step | Rejected):
                event = member.hand_on()
                if isinstance(event, Change) and event.kind in (FINISHED, DIED, STALLED):
                    self.recruits.left(member.name, event.kind)
                yield event
                gone = member.state == ABSENT and not self.recruits.may_come(member.name)
                if gone and (lost := member.undelivered()):
                    yield lost

    def _is_over(self, alone_since: float) -> bool:
        done = sum(m.state == DONE for m in self.members.values())
        waited = time.monotonic() - alone_since
        return done >= self.most or not self.recruits.may_come() or waited > self.join_timeout


def _joint(event: Step | Rejected, number: int, member: Member) -> Step | Rejected:
    if isinstance(event, Rejected):
        return Rejected(number, f"iteration {event.iteration} of {member.name}: {event.reason}")
    told = {"simulation": member.number, "parameters": dict(member.parameters)}
    return replace(event, iteration=number, metadata={**event.metadata, **told})
