"""What a stream of several simulations says beside steps: who joins, who leaves, what is lost."""

from __future__ import annotations

from dataclasses import dataclass

from insituml.stream.events import Event

JOINED, RESTARTED, FINISHED, DIED, STALLED, REFUSED, REPEATED = (
    *("joined", "restarted", "finished", "died", "stalled", "refused", "repeated"),
)


@dataclass(frozen=True)
class Change:
    """Something that happened to one simulation.

    Parameters
    ----------
    simulation, name
        Its number and its name; the number of one that was refused is −1.
    kind
        One of those above.
    words
        The rest of the line, such as why.
    """

    simulation: int
    name: str
    kind: str
    words: str = ""

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.name} {self.kind}" + (f": {self.words}" if self.words else "")


@dataclass(frozen=True)
class Lost:
    """Iterations of one simulation that did not arrive, those from ``first`` through ``last``.

    Parameters
    ----------
    simulation, name
        Its number and its name.
    first, last
        Its own iterations.
    count
        How many of those that were to come lie in between, both included.
    reason
        Why.
    """

    simulation: int
    name: str
    first: int
    last: int
    count: int
    reason: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.name}: iterations {self.first} to {self.last} are lost, {self.reason}"


EnsembleEvent = Event | Change | Lost
