"""How a stream goes, in one small file, for who watches while it runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from insituml_pipelines.common import log

FILE = Path("timings/live.json")
"""Below the stream's folder, among what is no result."""
EVERY = 0.5
"""Seconds from one writing to the next."""
NEWEST = 20
"""Gaps and rejected iterations that are named; all are counted."""
RUNNING, ENDED, BROKEN = "running", "ended", "broken off"


@dataclass
class Live:
    """What the file holds.

    Parameters
    ----------
    state, words
        :data:`RUNNING`, :data:`ENDED` or :data:`BROKEN`, and what there is to say of it.
    data
        Name of the stream.
    process, host
        Who learns from it.
    started, written
        When, in seconds since 1970.
    planned, passed
        Iterations that the tasks cover, and those that are behind the runs.
    learned, lost, rejected_count, gap_count
        Iterations learned from, in gaps, and left out; and how many gaps there were.
    iteration
        The last one that is behind the runs; None: none is.
    seconds, waited
        Since the first event was asked for, and those of them spent waiting for the producer.
    lag
        Seconds that the newest iteration had been there before it was taken.
    ready
        Whether the next event is there already: the producer is ahead.
    losses
        Mean training loss at the newest iteration by method, over its seeds.
    memory
        By method, of one run: ``held`` bytes of recent and sampled data, their ``bound``, and
        ``stored`` by the method itself.
    shared
        Bytes of memory shared with the producer.
    gaps, rejected, diverged
        The newest, by name; runs that dropped out.
    simulations
        Of an ensemble, one each: name, state, last iteration, how many it was learned from, lag.
    """

    state: str = RUNNING
    words: str = ""
    data: str = ""
    process: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    started: float = field(default_factory=time.time)
    written: float = 0.0
    planned: int = 0
    passed: int = 0
    learned: int = 0
    lost: int = 0
    rejected_count: int = 0
    gap_count: int = 0
    iteration: int | None = None
    seconds: float = 0.0
    waited: float = 0.0
    lag: float | None = None
    ready: bool = False
    losses: dict[str, float] = field(default_factory=dict)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    shared: int = 0
    gaps: list[list[Any]] = field(default_factory=list)
    rejected: list[list[Any]] = field(default_factory=list)
    diverged: dict[str, str] = field(default_factory=dict)
    simulations: list[dict[str, Any]] = field(default_factory=list)


class LiveFile:
    """Writes the file now and then; training does not depend on it.

    Parameters
    ----------
    folder
        Of the stream's results.
    data
        Name of the stream.
    every
        Seconds from one writing to the next.
    """

    def __init__(self, folder: Path, data: str, every: float = EVERY) -> None:
        self.file = folder / FILE
        self.every = every
        self.live = Live(data=data)
        self._next = 0.0
        self._failed = False

    def update(self, facts: Callable[[], Mapping[str, Any]]) -> None:
        """Write what ``facts`` returns, unless it was written a moment ago."""
        if time.monotonic() >= self._next:
            self.say(RUNNING, **facts())

    def say(self, state: str, words: str = "", **facts: Any) -> None:
        """Write a state, and facts that have changed, at once."""
        from insituml.atomic_file import write_json

        for name, value in {**facts, "state": state, "words": words}.items():
            setattr(self.live, name, value)
        self.live.written = time.time()
        self._next = time.monotonic() + self.every
        if self._failed:
            return
        try:
            write_json(self.file, asdict(self.live))
        except OSError as error:
            self._failed = True
            log.say(f"stream: {self.file} cannot be written ({error.strerror}): nobody can watch")

    @contextmanager
    def told_why_it_breaks_off(self) -> Iterator[None]:
        """Say why, where the block raises."""
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            self.say(BROKEN, "it was stopped" if stopped else " ".join(str(error).split())[:300])
            raise
