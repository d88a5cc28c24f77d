"""A stream that several ranks learn from: the first asks, and the others ask with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from insituml import ranks
from insituml.data.blocks import Block, slabs
from insituml.data.step import Step
from insituml.stream.events import Event
from insituml.stream.ring import RingSource
from insituml.stream.shared import SharedStream
from insituml.stream.source import Description
from insituml_pipelines.common.log import say
from insituml_pipelines.runs.together import silent
from insituml_pipelines.transit.led import led, with_samples

if TYPE_CHECKING:
    from insituml.in_transit import Arrival, Arrivals
    from insituml_pipelines.common.node import Node
    from insituml_pipelines.common.schema import Transit
    from insituml_pipelines.transit.run import TransitRun


class RankStream(SharedStream):
    """On the first rank, a stream and what arrives of it; the others do what is done there.

    Parameters
    ----------
    ring, in_blocks
        As of :class:`~insituml.stream.shared.SharedStream`.
    """

    name = "stream"

    def __init__(self, ring: RingSource | None, *, in_blocks: bool) -> None:
        super().__init__(ring, in_blocks=in_blocks)
        self.arrivals: Arrivals | None = None
        self.runs: dict[str, TransitRun] = {}
        """Those of the other ranks, by name."""
        self.newest: Arrival | None = None
        """What was taken last, with this rank's share."""
        self._shared: Sequence[Block] | None = None
        self._step: Step | None = None
        self._walk: Iterator[Arrival] = iter(())

    @property
    def lag(self) -> float | None:
        """Seconds that the newest step had been there when it was asked for."""
        return None if self.ring is None else self.ring.lag

    @property
    def bound_bytes(self) -> int:
        """Bytes of shared memory, of this rank's ring."""
        return 0 if self.ring is None else self.ring.bound_bytes

    def check_room(self) -> None:
        """Ask for the shared memory that a ring of whole iterations needs."""
        if self.ring is not None:
            self.ring.check_room()

    def share(self, runs: Sequence[TransitRun], manifest: Node) -> None:
        """Let the other ranks have runs like these, and say who reads what."""
        arrivals, transit = runs[0].arrivals, runs[0].transit
        cutter, count = arrivals.cutter, ranks.size()
        blocks = None
        if self.in_blocks and cutter.description.divisible and cutter.chunk is not None:
            assert cutter.description.grid is not None
            blocks = slabs(cutter.description.grid.shape, cutter.chunk, count)
            if blocks is None:
                say(f"stream: no axis has {count} chunks: the first rank reads all")
        if blocks is not None:
            shapes = " or ".join(dict.fromkeys("×".join(map(str, b.shape)) for b in blocks))
            say(f"stream: each of {count} ranks reads a block of its own, {shapes} points")
        made = [(type(run), run.run) for run in runs]
        self.hand_out(made, arrivals, transit, manifest, blocks)

    def events(
        self, after: int | None = None, blocks: Sequence[Block] | None = None
    ) -> Iterator[Event]:
        return super().events(after, self._shared)

    def take(self, step: Step) -> Iterator[Arrival]:
        """Walk what becomes of the newest step, on all ranks."""
        self.begin_taking()
        return self._walked()

    def rest(self) -> Iterator[Arrival]:
        """Walk what has waited until now, on all ranks."""
        self.begin_rest()
        return self._walked()

    def _walked(self) -> Iterator[Arrival]:
        while (arrival := self.next_arrival()) is not None:
            yield arrival

    @led
    def describe(self) -> Description:
        return super().describe()

    @led
    def hand_out(
        self,
        made: Sequence[Any],
        arrivals: Arrivals,
        transit: Transit,
        manifest: Node,
        blocks: Sequence[Block] | None,
    ) -> None:
        """Prepare to learn: each rank has its own of what the first has."""
        from insituml_pipelines.runs.worker import pin

        arrivals.divide(blocks)
        self.arrivals, self._shared = arrivals, blocks
        if ranks.rank() > 0:
            pin(made[0][1].recipe.training["threads"])
            for kind, run in made:
                self.runs[run.recipe.name] = kind(run, arrivals, transit, manifest, silent)

    @led
    def begin(self, after: int | None = None, blocks: Sequence[Block] | None = None) -> None:
        super().begin(after, blocks)

    @led
    def ask(self) -> Event:
        self._step = None
        event = super().ask()
        self._step = event if isinstance(event, Step) else None
        return event

    @led
    def begin_taking(self) -> None:
        """Begin to walk what becomes of the newest step."""
        assert self.arrivals is not None
        assert self._step is not None
        self._walk = self.arrivals.take(self._step)

    @led
    def begin_rest(self) -> None:
        """Begin to walk what has waited until now."""
        assert self.arrivals is not None
        self._walk = self.arrivals.rest()

    @led
    def next_arrival(self) -> Arrival | None:
        """Return what arrives next of what is walked; None: that is all."""
        self.newest = None
        self.newest = next(self._walk, None)
        return self.newest

    @led
    def leave(self) -> list[int]:
        """Let go of the producer on all ranks; return how many bytes each has read."""
        self._step = None
        found = ranks.gathered_objects(self.bytes_read)
        self.close()
        return found


@contextmanager
def led_stream(ring: RingSource, *, in_blocks: bool) -> Iterator[RankStream]:
    """Have the other ranks follow this stream in the block; to be called while ``leading``."""
    ranks.told((_follow, (ring.unopened() if in_blocks else None, in_blocks)))
    with RankStream(ring, in_blocks=in_blocks) as stream:
        yield stream
        ranks.told(None)


def _follow(ring: RingSource | None, in_blocks: bool) -> None:
    """Have a stream and runs like those of the first rank, and call of them what it calls."""
    from insituml.training import DivergedError

    with RankStream(ring, in_blocks=in_blocks) as stream:
        while (said := ranks.told(None)) is not None:
            name, function, arguments, normalisation = said
            thing: Any = stream if name == stream.name else stream.runs[name]
            if stream.arrivals is not None:
                stream.arrivals.normalisation = normalisation
            share = stream.newest and stream.newest.batch
            try:
                getattr(thing, function)(*(with_samples(a, share) for a in arguments))
            except DivergedError:
                continue  # on the first rank too, which says so and lets the run drop out


def left(ring: Any) -> list[int]:
    """Let go of a stream: who goes on producing does it for nobody.

    Returns
    -------
    list of int
        How many bytes each rank has read; empty where nobody counts.
    """
    if isinstance(ring, RankStream):
        return ring.leave()
    ring.close()
    return [ring.bytes_read] if isinstance(ring, RingSource) else []
