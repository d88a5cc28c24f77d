"""Where the simulations of an ensemble come from: started here, or found by a pattern."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple, Protocol

from insituml.data.ensemble import Simulation
from insituml.stream.ensemble_events import FINISHED, STALLED
from insituml.stream.ring import RingSource

RETRY_SECONDS = 5.0
"""From the end of a stream that stalled to the next try to read it."""
LOOK_SECONDS = 0.5
"""From one look for new streams to the next."""


class Recruit(NamedTuple):
    """A producer that is there to be read.

    Parameters
    ----------
    name
        Of its simulation.
    parameters
        What that is run with; None where only the producer says so.
    ring
        Reads it.
    """

    name: str
    parameters: Mapping[str, float] | None
    ring: RingSource


class Recruits(Protocol):
    """Finds the producers of an ensemble, and those that come again."""

    goes_on: bool
    """Whether one that comes again can begin after the iterations that came before."""

    def names(self) -> list[str]:
        """Return the simulations that are known beforehand, in the order of their numbers."""
        ...

    def look(self) -> list[Recruit]:
        """Return the producers that are new, or there again."""
        ...

    def left(self, name: str, kind: str) -> None:
        """Hear that one has ended, and how: one of the kinds of a change."""
        ...

    def may_come(self, name: str | None = None) -> bool:
        """Return whether this one, or any, may still come or come again."""
        ...


class Started:
    """Runs each simulation in a process of its own, and again if it dies.

    Parameters
    ----------
    simulations
        Who they are.
    rings
        One function each, which makes the ring of its producer.
    restarts
        How often one that died or stalled is started again.
    """

    goes_on = True

    def __init__(
        self,
        simulations: Sequence[Simulation],
        rings: Sequence[Callable[[], RingSource]],
        restarts: int = 0,
    ) -> None:
        self._simulations = {s.name: s for s in simulations}
        self._rings = dict(zip(self._simulations, rings, strict=True))
        self._due = list(self._simulations)
        self._left = dict.fromkeys(self._simulations, restarts)

    def names(self) -> list[str]:
        return list(self._simulations)

    def look(self) -> list[Recruit]:
        due, self._due = self._due, []
        return [Recruit(n, self._simulations[n].parameters, self._rings[n]()) for n in due]

    def left(self, name: str, kind: str) -> None:
        if kind != FINISHED and self._left[name]:
            self._left[name] -= 1
            self._due.append(name)

    def may_come(self, name: str | None = None) -> bool:
        return bool(self._due) if name is None else name in self._due


class Found:
    """Reads the streams or series whose paths fit a pattern, whenever they appear.

    One that has died is read again once its path leads to something new, one that has stalled
    after a while anyway.

    Parameters
    ----------
    pattern
        Such as ``"sst/*.sst"``.
    ring
        ``ring(path)`` makes the ring that reads one.
    most
        Simulations at most.

    Notes
    -----
    A simulation is called as its file, without the suffix where the pattern says which that is.
    """

    goes_on = False  # what a writer repeats is seen, and said

    def __init__(
        self,
        pattern: str,
        ring: Callable[[str], RingSource],
        most: int,
    ) -> None:
        self.pattern = pattern
        self._ring = ring
        self._most = most
        self._marks: dict[str, object] = {}  # what each path led to when it was read last
        self._absent: dict[str, float] = {}  # when to try again, whatever it leads to
        self._finished: set[str] = set()
        self._next = 0.0
        suffix = Path(pattern).suffix
        self._suffix_is_known = bool(suffix) and not has_magic(suffix)

    def names(self) -> list[str]:
        return []

    def look(self) -> list[Recruit]:
        now = time.monotonic()
        if now < self._next:
            return []
        self._next = now + LOOK_SECONDS
        matching = sorted(glob(self.pattern, recursive=True))  # noqa: PTH207 (it may be absolute)
        paths = {self._name(path): path for path in matching}
        found = []
        for name, path in paths.items():
            mark = _mark_of(Path(path))
            if mark is None or not self._is_new(name, mark, now):
                continue
            self._marks[name] = mark
            self._absent.pop(name, None)
            found.append(Recruit(name, None, self._ring(path)))
        return found

    def left(self, name: str, kind: str) -> None:
        if kind == FINISHED:
            self._finished.add(name)
        else:
            wait = RETRY_SECONDS if kind == STALLED else float("inf")
            self._absent[name] = time.monotonic() + wait

    def may_come(self, name: str | None = None) -> bool:
        if name is not None:
            return name not in self._finished
        return len(self._finished) < self._most

    def _is_new(self, name: str, mark: object, now: float) -> bool:
        if name not in self._marks:
            return True
        if name not in self._absent:  # it is being read, or was to its end
            return False
        return mark != self._marks[name] or now > self._absent[name]

    def _name(self, path: str) -> str:
        known = Path(path).with_suffix("") if self._suffix_is_known else Path(path)
        return known.as_posix() if has_magic(str(Path(self.pattern).parent)) else known.name


def _mark_of(path: Path) -> object:
    """Return what changes when a path leads to a new stream; None: nothing is there."""
    try:
        if path.suffix == ".sst" and os.access(path, os.R_OK):
            return path.read_bytes() or None
        state = path.stat()  # of one that may not be read, too: its ring says so
        return (state.st_mtime_ns, state.st_ctime_ns if path.suffix == ".sst" else 0, state.st_ino)
    except OSError:  # gone since it was found
        return None
