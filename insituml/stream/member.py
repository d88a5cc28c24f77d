"""One simulation of an ensemble: its producer behind a ring, and how far it has come."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from insituml.data.step import Step
from insituml.stream.checks import MISSING, missing_before
from insituml.stream.ensemble_events import (
    DIED,
    FINISHED,
    REPEATED,
    STALLED,
    Change,
    EnsembleEvent,
    Lost,
)
from insituml.stream.events import Ending, Finished, Gap, NoProducerError, ProducerDied, Rejected
from insituml.stream.ring import RingSource
from insituml.stream.source import Description

OPENING, OPENED, RUNNING, ABSENT, DONE = "opening", "opened", "running", "absent", "done"


class Member:
    """Listens to the producer of one simulation without ever waiting for it.

    Parameters
    ----------
    name
        What messages call it.
    parameters
        What it is run with, where that is known before its producer says so.
    """

    def __init__(self, name: str, parameters: Mapping[str, float] | None = None) -> None:
        self.name = name
        self.parameters = dict(parameters or {})
        self.number = -1
        """Among all simulations; −1 until it has joined."""
        self.has_joined = False
        """Whether a producer of it has begun, be it before an interruption."""
        self.state = ABSENT
        self.last: int | None = None
        """Last of its iterations that was handed on, or is known not to come."""
        self.handed_on = 0
        """How many iterations were."""
        self.pending: deque[EnsembleEvent] = deque()
        """What has come and waits to be handed on."""
        self.why = "did not come back"
        """Why it is absent."""
        self.since = time.monotonic()
        """When its state began, or it began to be waited for."""
        self.ring: RingSource | None = None
        self.expected: Sequence[int] = ()
        """Its iterations that are to come, ascending; known once it has a number."""
        self._given = frozenset(self.parameters)
        self.is_given_up = False
        """Whether what it has not delivered is named as lost."""
        self._again: list[int] = []  # iterations that came again

    @property
    def is_live(self) -> bool:
        """Whether it has a producer."""
        return self.state in (OPENING, OPENED, RUNNING)

    def open(self, ring: RingSource) -> None:
        """Start a producer, without waiting for it."""
        self.ring, self.is_given_up = ring, False
        ring.start()
        self._is(OPENING)

    def described(self) -> Description | None:
        """Return what its producer says of its steps; None: nothing yet.

        Raises
        ------
        NoProducerError
            If there is none, or it has taken too long.
        """
        assert self.ring is not None
        if not self.ring.ready():
            if time.monotonic() - self.since < self.ring.open_timeout:
                return None
            self.ring.kill()
            raise NoProducerError(f"gave nothing within {self.ring.open_timeout:g} s")
        description = self.ring.describe()
        self.parameters = {**description.parameters, **self.parameters}
        self._is(OPENED)
        return description

    def changed_parameters(self) -> str:
        """Say which parameters of its producer are others than before; nothing: none."""
        assert self.ring is not None
        announced = self.ring.describe().parameters
        differing = [
            f"{name} is {value:g}, was {self.parameters[name]:g}"
            for name, value in announced.items()
            if name not in self._given and value != self.parameters[name]
        ]
        return ", ".join(differing)

    def begin(self, *, from_last: bool) -> None:
        """Let the producer begin, after the last iteration where it can go on from there."""
        assert self.ring is not None
        self.has_joined = True
        self.ring.begin(self.last if from_last else None)
        self._is(RUNNING)

    def listen(self) -> None:
        """Take the next event if it is there, once what came before is handed on."""
        if self.pending or self.state != RUNNING:
            return
        assert self.ring is not None
        event = self.ring.take(0.0)
        now = time.monotonic()
        if event is None:
            if now - self.since > self.ring.stall_timeout:
                self._leave(STALLED, f"nothing for {self.ring.stall_timeout:g} s")
            return
        self.since = now
        if isinstance(event, Step | Rejected) and not self._is_new(event.iteration):
            return
        self._tell_again()
        if missing := missing_before(event, self.expected, self.last):
            self.pending.append(self.lost(*missing, MISSING))
        if isinstance(event, Gap):
            self.pending.append(self.lost(event.first, event.last, event.reason))
        elif isinstance(event, Ending):
            if isinstance(event, Finished):
                self._finish(f"{self.handed_on} iterations")
            else:
                self._leave(DIED, event.reason if isinstance(event, ProducerDied) else str(event))
        else:
            self.pending.append(event)

    def hand_on(self) -> EnsembleEvent:
        """Return what is next; a step's values are valid until :meth:`listen` is called."""
        event = self.pending.popleft()
        if isinstance(event, Step):
            self.last = event.iteration
            self.handed_on += 1
        elif isinstance(event, Lost):
            self.last = event.last
        return event

    def passed(self, event: EnsembleEvent) -> None:
        """Hold that the consumer went on after an event; a bad iteration may end its work."""
        if isinstance(event, Rejected):
            self.last = event.iteration

    def lost(self, first: int, last: int, reason: str) -> Lost:
        """Return that such iterations of it do not come."""
        count = bisect_right(self.expected, last) - bisect_left(self.expected, first)
        return Lost(self.number, self.name, first, last, count, reason)

    def undelivered(self) -> Lost | None:
        """Return the iterations that will not come any more, once; None: all have.

        They do not count as handed on: after an interruption they may come after all.
        """
        if self.state == DONE or self.is_given_up:
            return None
        self.is_given_up = True
        missing = missing_before(Finished(), self.expected, self.last)
        return missing and self.lost(*missing, f"undelivered: it {self.why}")

    def next_iteration(self) -> int:
        """Return its next iteration; the last one where its ending is all that is to come."""
        place = 0 if self.last is None else bisect_right(self.expected, self.last)
        return self.expected[min(place, len(self.expected) - 1)]

    def fail(self, why: str) -> None:
        """Hold that it has no producer."""
        self.close()
        self.why = f"was refused ({why})"
        self._is(ABSENT)

    def close(self) -> None:
        """End its producer."""
        if self.ring is not None:
            self.ring.close()

    def state_dict(self) -> dict[str, Any]:
        """Return how far it was handed on, plain values."""
        return {
            "last": self.last,
            "handed_on": self.handed_on,
            "joined": self.has_joined,
            "done": self.state == DONE and not self.pending,
            "parameters": self.parameters,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; what was done needs no producer."""
        self.last, self.handed_on = state["last"], state["handed_on"]
        self.has_joined = state["joined"]
        # A producer may have described itself before: what it says is compared with these.
        given = {name: self.parameters[name] for name in self._given}
        self.parameters = {**self.parameters, **state["parameters"], **given}
        if state["done"]:
            self.close()
            self._is(DONE)

    def facts(self) -> dict[str, Any]:
        """Return what who watches is told, plain values."""
        lag = self.ring.lag if self.ring is not None else None
        return {
            "name": self.name,
            "state": self.state,
            "iteration": self.last,
            "learned": self.handed_on,
            "lag": lag,
        }

    def _leave(self, kind: str, why: str) -> None:
        assert self.ring is not None
        self._tell_again()
        self.ring.kill()
        self.why = f"{kind} ({why})"
        self.pending.append(self._change(kind, why))
        self._is(ABSENT)

    def _is_new(self, iteration: int) -> bool:
        """Return whether an iteration is one to hand on."""
        if self.last is not None and iteration <= self.last:
            self._again.append(iteration)
            return False
        if self.expected and iteration > self.expected[-1]:
            self._tell_again()
            if missing := missing_before(Finished(), self.expected, self.last):
                self.pending.append(self.lost(*missing, MISSING))
            self._finish(f"{self.handed_on} iterations, all that are learned; it goes on")
            return False
        return not self.expected or iteration >= self.expected[0]

    def _finish(self, words: str) -> None:
        self._is(DONE)
        self.pending.append(self._change(FINISHED, words))
        self.close()

    def _tell_again(self) -> None:
        if self._again:
            words = f"iterations {self._again[0]} to {self._again[-1]}, which are not learned twice"
            self.pending.append(self._change(REPEATED, words))
            self._again = []

    def _change(self, kind: str, words: str) -> Change:
        return Change(self.number, self.name, kind, words)

    def _is(self, state: str) -> None:
        self.state = state
        self.since = time.monotonic()
