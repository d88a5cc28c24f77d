"""The producer's side of the ring: write steps into free slots, say which."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from insituml.data.step import Step
from insituml.stream.checks import checked
from insituml.stream.child import say
from insituml.stream.events import Ending, Event, Gap, ProducerDied
from insituml.stream.slots import Slots
from insituml.stream.source import Source


class _ConsumerGoneError(Exception):
    """Nobody listens any more."""


def produce(
    told: Connection, tells: Connection, factory: Callable[[], Source], count: int, policy: str
) -> None:
    """Run in the child process: describe, wait for the start, then feed the slots.

    Messages sent: ``("described", Description)`` or ``("failed", reason)``; then ``("attached",)``
    once the slots are open here, ``("step", slot, rows of each column, iteration, time,
    metadata, bytes that were read, when it was written)``, ``("dropped", Gap, number of steps)``
    and ``("event", event)``.
    Received: ``(name of the slots, after, block)``, then the numbers of slots that are free again.
    """
    try:
        source = factory()
        description = source.describe()
    except Exception as error:  # whatever a simulation or a reader may raise
        say(tells, ("failed", f"{type(error).__name__}: {error}"))
        return
    try:
        say(tells, ("described", description))
        name, after, block = told.recv()
    except (EOFError, OSError):
        return
    options: tuple[Any, ...] = (after,)
    if block is not None:
        description, options = description.of_block(block), (after, block)
    slots = Slots(count, description.columns, name)
    writer = _Writer(slots, told, tells, policy)
    try:
        writer.send("attached")
        for event in checked(source.events(*options), description):
            writer.put(event)
            if isinstance(event, Ending):
                return
        writer.put(ProducerDied("the source stopped without saying that it is done"))
    except _ConsumerGoneError:
        return
    except Exception as error:
        writer.put(ProducerDied(f"{type(error).__name__}: {error}"))
    finally:
        slots.close()


class _Writer:
    """Puts events where the consumer finds them, waiting for a slot or dropping the step."""

    def __init__(self, slots: Slots, told: Connection, tells: Connection, policy: str) -> None:
        self.slots = slots
        self.told = told
        self.tells = tells
        self.drops = policy == "drop"
        self.free = list(range(slots.count))
        self.dropped = 0  # in a row, the first and the last of them:
        self.first = self.last = 0

    def put(self, event: Event) -> None:
        if not isinstance(event, Step):
            self.report_dropped()
            self.send("event", event)
            return
        slot = self.free_slot()
        if slot is None:
            self.first = self.first if self.dropped else event.iteration
            self.last = event.iteration
            self.dropped += 1
            return
        self.report_dropped()
        rows = self.slots.write(slot, event)
        facts = (event.iteration, event.time, dict(event.metadata), event.bytes_read)
        self.send("step", slot, rows, *facts, time.monotonic())

    def free_slot(self) -> int | None:
        """Return a slot that nobody reads; None if there is none and steps may be dropped."""
        try:
            while self.told.poll(0.0) or not (self.free or self.drops):
                self.free.append(self.told.recv())
        except (EOFError, OSError) as error:
            raise _ConsumerGoneError from error
        return self.free.pop(0) if self.free else None

    def report_dropped(self) -> None:
        if self.dropped:
            count = self.slots.count
            reason = (
                f"dropped: {self.dropped} steps, the consumer had yet to free one of {count} slots"
            )
            self.send("dropped", Gap(self.first, self.last, reason), self.dropped)
            self.dropped = 0

    def send(self, *message: Any) -> None:
        try:
            say(self.tells, message)
        except OSError as error:
            raise _ConsumerGoneError from error
