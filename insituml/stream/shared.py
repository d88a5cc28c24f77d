"""A stream that several ranks read together: each a block of every iteration, or the first all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from insituml import ranks
from insituml.data.blocks import Block, nothing
from insituml.data.step import Step
from insituml.stream.agreement import Came, Heard, agree, last_of
from insituml.stream.events import Ending, Event, NoProducerError, Stalled
from insituml.stream.ring import RingSource
from insituml.stream.source import Description

PULSE = 1.0
"""Seconds after which ranks that wait for a producer hear of each other: one may have ended."""


class SharedStream:
    """The same events on every rank, in the same order; all call the same methods at once.

    Where blocks are read, each rank follows the stream by itself. An iteration is a step only if
    all have read their blocks of it: one that a rank cannot read, or has missed, is rejected or
    lost for all, and named with the rank. They end together, when the first of them dies or stalls.

    Where the first rank reads all, the others get steps without values.

    Parameters
    ----------
    ring
        This rank's own; None: it reads nothing.
    in_blocks
        Whether each rank may read blocks: they all connect, and wait for each other, then.
    """

    def __init__(self, ring: RingSource | None, *, in_blocks: bool = True) -> None:
        self.ring = ring
        self.in_blocks = in_blocks
        self._description: Description | None = None
        self._blocks: Sequence[Block] | None = None
        self._head: Event | None = None
        self._waits_since: float | None = None
        self._done = -1

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
        """Return what all steps share, once every rank that reads knows it.

        Raises
        ------
        NoProducerError
            On all ranks, if one of them finds no producer, or another than the first.
        """
        if self._description is None:
            own, fault = None, ""
            try:
                own = None if self.ring is None else self.ring.describe()
            except NoProducerError as error:
                fault = str(error)
            facts = own and (own.components, own.shape, own.units)
            found = ranks.gathered_objects((fault, facts))
            together = all(fault for fault, _ in found)  # such as a path that is wrong for all
            for rank, (fault, facts) in enumerate(found):
                if not fault and facts is not None and facts != found[0][1]:
                    fault = f"it reads {facts}, the first rank {found[0][1]}: another stream"
                if fault:
                    of = "" if together else f"rank {rank} of {len(found)}: "
                    raise NoProducerError(f"{of}{fault}")
            self._description = ranks.told(own)
        return self._description

    def begin(self, after: int | None = None, blocks: Sequence[Block] | None = None) -> None:
        """Let the producer begin.

        Parameters
        ----------
        after
            Leave out steps up to and with this iteration.
        blocks
            What each rank reads; None: the first reads all.
        """
        self._blocks = blocks
        self._done = -1 if after is None else after
        if blocks is None and ranks.rank() > 0:
            self.close()
            self.ring = None
        if self.ring is not None:
            self.ring.begin(after, None if blocks is None else blocks[ranks.rank()])

    def events(
        self, after: int | None = None, blocks: Sequence[Block] | None = None
    ) -> Iterator[Event]:
        """Yield what happens to all ranks, until the stream ends; parameters as of :meth:`begin`.

        The values of a step are those of this rank's block, valid until the next event is asked
        for.
        """
        self.begin(after, blocks)
        while True:
            event = self.ask()
            yield event
            if isinstance(event, Ending):
                return
            del event

    def ask(self) -> Event:
        """Return what happens next to all ranks."""
        while True:
            self._listen()
            own = _told(self._head)
            heard = [ranks.told(own)] if self._blocks is None else ranks.gathered_objects(own)
            agreed = agree(heard, self._done)
            if agreed is None:
                continue
            event, head = agreed.event, self._head
            if ranks.rank() in agreed.of:
                self._head = None
            self._done = max(self._done, last_of(event))
            if isinstance(event, Came):
                return head if isinstance(head, Step) else self._without_values(event)
            if isinstance(event, Ending):
                self.close()
            if event is not None:
                return event

    def ready(self) -> bool:
        """Return whether this rank need not wait for the next event."""
        return self._head is not None or self.ring is None or self.ring.ready()

    def close(self) -> None:
        """End this rank's producer; may be called at any time, repeatedly."""
        self._head = None
        if self.ring is not None:
            self.ring.close()

    @property
    def bytes_read(self) -> int:
        """How many bytes this rank has read, as far as its source counts them."""
        return 0 if self.ring is None else self.ring.bytes_read

    def _listen(self) -> None:
        """Wait a moment for what this rank's own producer says."""
        if self._head is not None or self.ring is None:
            return
        if self._waits_since is None:
            self._waits_since = time.monotonic()
        self._head = self.ring.take(min(PULSE, self.ring.stall_timeout))
        waited = time.monotonic() - self._waits_since
        if self._head is None and waited >= self.ring.stall_timeout:
            self.ring.kill()
            self._head = Stalled(self.ring.stall_timeout)
        if self._head is not None:
            self._waits_since = None

    def _without_values(self, came: Came) -> Step:
        described = self.describe()
        columns = {
            name: np.empty((0, *shape[1:]), dtype)
            for name, (shape, dtype) in described.columns.items()
        }
        if described.grid is not None:
            empty = described.of_block(nothing(len(described.grid.shape)))
            columns["values"] = np.empty(empty.shape, np.float32)
        values, labels = columns["values"], columns.get("labels")
        return Step(came.iteration, came.time, values, came.metadata, labels)


def _told(event: Event | None) -> Heard | None:
    """Return an event as other ranks are told of it."""
    if isinstance(event, Step):
        return Came(event.iteration, event.time, dict(event.metadata))
    return event
