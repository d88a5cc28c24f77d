"""A source in a process of its own, read through a ring of slots in shared memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from insituml.data.blocks import Block
from insituml.data.step import Step
from insituml.stream.child import PATIENCE, Child, those_heard_of
from insituml.stream.events import (
    Ending,
    Event,
    Finished,
    NoProducerError,
    ProducerDied,
    Stalled,
)
from insituml.stream.ring_writer import produce
from insituml.stream.slots import Slots, bytes_of, check_room
from insituml.stream.source import Description, Source

POLICIES = ("block", "drop")
logger = logging.getLogger(__name__)


class RingSource:
    """Run a source in a child process that writes into a bounded ring of slots.

    The producer works while the consumer trains, whatever happens to it leaves the consumer alive,
    and no more than ``slots`` steps are ever held. Steps that cannot be learned from arrive as
    :class:`Rejected` (:func:`checked`).

    The values of a step are a view of its slot: **valid until the next event is asked for**, then
    the producer may write there. Copy what is to be kept.

    Parameters
    ----------
    factory
        Called without arguments in the child to make the source; must pickle, such as
        ``functools.partial(make_stream, path)`` of functions that can be imported.
    slots
        Number of steps in shared memory, at least 2: one is read while another is written.
    policy
        ``"block"``: the producer waits for a free slot, nothing is lost. ``"drop"``: it never
        waits; a step without a free slot is lost, and a :class:`Gap` names those lost in a row.
    stall_timeout
        Seconds without an event, while the consumer waits, until the producer counts as stalled
        and is killed.
    open_timeout
        Seconds until the producer must have described its steps.

    Raises
    ------
    ValueError
        If there are fewer than two slots, the policy is unknown or a timeout is not positive.
    """

    def __init__(
        self,
        factory: Callable[[], Source],
        *,
        slots: int = 4,
        policy: str = "block",
        stall_timeout: float = 60.0,
        open_timeout: float = 60.0,
    ) -> None:
        if slots < 2:
            raise ValueError(f"slots is {slots}; at least 2: one is read while another is written")
        if policy not in POLICIES:
            raise ValueError(f"policy is {policy!r}; choose one of {', '.join(POLICIES)}")
        for name, value in {"stall_timeout": stall_timeout, "open_timeout": open_timeout}.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}; it must be more than 0 seconds")
        self.factory = factory
        self.slots = slots
        self.policy = policy
        self.stall_timeout = stall_timeout
        self.open_timeout = open_timeout
        self.dropped_steps = 0
        """How many steps policy ``"drop"`` has lost, as far as the consumer has read."""
        self.bytes_read = 0
        """How many bytes were read for the steps that came, as far as their source counts them."""
        self.lag: float | None = None
        """Seconds that the newest step had been in its slot when it was asked for."""
        self._description: Description | None = None
        self._block: Block | None = None
        self._child: Child | None = None
        self._slots: Slots | None = None
        self._held: int | None = None  # slot of the newest step, which its consumer looks at

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def describe(self) -> Description:
        """Start the producer, unless it was, and return what all its steps share.

        Raises
        ------
        NoProducerError
            If it fails to start, or gives nothing within the open timeout.
        """
        return self._start() if self._description is None else self._description

    @property
    def bound_bytes(self) -> int:
        """Bytes of shared memory, whatever the producer does: slots × step."""
        return bytes_of(self.slots, self._own().columns)

    def check_room(self) -> None:
        """Ask for the shared memory that the slots need, before anything is written.

        Raises
        ------
        MemoryError
            Saying how much they need and how much there is.
        """
        check_room(self.slots, self.describe().columns)

    def ready(self) -> bool:
        """Return whether the next event is there: asking for it would not wait."""
        return self._child is None or self._child.has_spoken()

    @property
    def process(self) -> int | None:
        """Number of the producer's process; None while there is none."""
        return None if self._child is None else self._child.process.pid

    def events(self, after: int | None = None, block: Block | None = None) -> Iterator[Event]:
        """Yield what the producer gives, then one ending; stopping early ends the producer.

        A stream that was read is started anew, with a new producer.

        Parameters
        ----------
        after
            Leave out steps up to and with this iteration.
        block
            Read these points of each alone, where the stream is ``divisible``; None: all.

        Raises
        ------
        NoProducerError
            At the first event: see :meth:`describe`.
        RuntimeError
            If the stream is being read already.
        """
        self.begin(after, block)
        try:
            while self._child is not None:
                event = self.take(self.stall_timeout)
                if event is None:
                    self.kill()
                    event = Stalled(self.stall_timeout)
                yield event
                if isinstance(event, Ending):
                    return
                del event
        finally:
            self.close()

    def unopened(self) -> RingSource:
        """Return another such ring, whose producer has yet to be started: it can be pickled."""
        return RingSource(
            self.factory,
            slots=self.slots,
            policy=self.policy,
            stall_timeout=self.stall_timeout,
            open_timeout=self.open_timeout,
        )

    # For who listens to several rings at once, in place of events()

    def start(self) -> None:
        """Start the producer, unless it was, without waiting for what it says."""
        if self._child is None:
            self._child = Child(produce, self.factory, self.slots, self.policy)

    def begin(self, after: int | None = None, block: Block | None = None) -> None:
        """Let the producer begin, as :meth:`events` does, for :meth:`take`."""
        if self._slots is not None:
            raise RuntimeError("this stream is being read already; close() it to start anew")
        if self._child is None:
            self._start()
        assert self._child is not None
        self._block = block
        try:
            self._slots = Slots(self.slots, self._own().columns)
            logger.info("the ring holds at most %d steps, %d bytes", self.slots, self.bound_bytes)
            self._child.tell((self._slots.name, after, block))
        except BaseException:
            self.close()
            raise

    def take(self, timeout: float) -> Event | None:
        """Return the next event, or None if nothing comes for ``timeout`` seconds.

        The values of the step before are valid no longer. With an ending, the producer has ended.
        """
        child, slots = self._child, self._slots
        assert child is not None
        assert slots is not None
        held, self._held = self._held, None
        if held is not None:
            child.tell(held)
        event, self._held = self._next(child, slots, timeout)
        if isinstance(event, Ending):
            self._close(grace=PATIENCE if isinstance(event, Finished) else 0.0)
        return event

    def kill(self) -> None:
        """End the producer at once, as one that has stalled."""
        self._close(force=True)

    def close(self) -> None:
        """End the producer and remove the shared memory. May be called at any time, repeatedly."""
        self._close()

    def _close(self, **how: Any) -> None:
        child, self._child = self._child, None
        slots, self._slots = self._slots, None
        self._held = None
        if child is not None:
            child.end(**how)
        if slots is not None:  # after the child: nobody writes into it any more
            slots.close()

    def _own(self) -> Description:
        """Return what is read here: all of it, or a block."""
        whole = self.describe()
        return whole if self._block is None else whole.of_block(self._block)

    def _start(self) -> Description:
        self.start()
        child = self._child
        assert child is not None
        try:
            message = child.hear(self.open_timeout)
            if message is None:
                problem = f"gave nothing within {self.open_timeout} s: is it running, or does it "
                problem += "need a longer open_timeout?"
            elif message[0] == "failed":
                problem = f"could not start: {message[1]}"
            else:
                self._description = message[1]
                return message[1]
        except EOFError:
            problem = child.how_it_ended()
        except BaseException:  # such as Ctrl-C while waiting
            self._close(force=True)
            raise
        self._close(force=True)
        raise NoProducerError(f"the producer {problem}")

    def _next(self, child: Child, slots: Slots, timeout: float) -> tuple[Event | None, int | None]:
        """Return the next event, or None if it is too late; with its slot if it is a step."""
        try:
            message = child.hear(timeout)
            if message is not None and message[0] == "attached":
                slots.forget_name()
                message = child.hear(timeout)
        except EOFError:
            return ProducerDied(child.how_it_ended()), None
        if message is None:
            return None, None
        if message[0] == "step":
            _, slot, rows, iteration, physical_time, metadata, size, written = message
            self.lag = time.monotonic() - written
            self.bytes_read += size
            columns = slots.read(slot, rows)
            values, labels = columns["values"], columns.get("labels")
            return Step(iteration, physical_time, values, metadata, labels, size), slot
        if message[0] == "dropped":
            self.dropped_steps += message[2]
        return message[1], None


def heard_of(rings: Sequence[RingSource], timeout: float) -> bool:
    """Wait until one of the producers has something to say; return whether one has."""
    children = [ring._child for ring in rings if ring._child is not None]
    if any(child.has_spoken() for child in children):
        return True
    return bool(those_heard_of(children, timeout))
