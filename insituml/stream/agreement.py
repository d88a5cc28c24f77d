"""What several ranks make of what each of them hears from the same stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from insituml.stream.events import Ending, Finished, Gap, ProducerDied, Rejected


@dataclass(frozen=True)
class Came:
    """A step without its values, which stay where they are."""

    iteration: int
    time: float
    metadata: Mapping[str, Any]


Heard = Came | Gap | Rejected | Ending
"""What a rank has heard next, as it tells the others."""


@dataclass(frozen=True)
class Agreed:
    """What follows for all ranks.

    Parameters
    ----------
    event
        What has happened to all of them; None: nothing that they do not know.
    of
        The ranks whose next event that settles.
    """

    event: Heard | None
    of: frozenset[int]


def agree(heard: Sequence[Heard | None], done: int) -> Agreed | None:
    """Return what follows from what each rank has heard next; None: wait for the others.

    A step is one that all ranks have. An iteration that one of them cannot read, or has lost, is
    so for all, and so is an ending that is no proper one, which does not wait for the others.

    Parameters
    ----------
    heard
        By each rank; None: nothing as yet.
    done
        The last iteration that was agreed on; -1: none was.
    """
    everyone = frozenset(range(len(heard)))
    broken = [r for r, said in enumerate(heard) if isinstance(said, Ending) and said != Finished()]
    if broken:
        return Agreed(_of_rank(broken[0], heard), everyone)
    if None in heard:
        return None
    numbers = {r: h.iteration for r, h in enumerate(heard) if isinstance(h, Came | Rejected)}
    gaps = {r: h for r, h in enumerate(heard) if isinstance(h, Gap)}
    next_one = min(numbers.values(), default=None)
    behind = [r for r, gap in gaps.items() if next_one is None or gap.last < next_one]
    if behind:
        rank = min(behind, key=lambda r: gaps[r].last)
        gap = _of_rank(rank, heard)
        assert isinstance(gap, Gap)
        news = replace(gap, first=max(gap.first, done + 1)) if gap.last > done else None
        return Agreed(news, frozenset([rank]))
    if next_one is None:
        return Agreed(Finished(), everyone)
    those = frozenset(r for r, number in numbers.items() if number == next_one)
    refused = [r for r in those if isinstance(heard[r], Rejected)]
    if refused:
        return Agreed(_of_rank(min(refused), heard), those)
    if those == everyone:
        return Agreed(heard[0], everyone)
    lacking = min(everyone - those)
    why = gaps[lacking].reason if lacking in gaps else "it did not get it"
    return Agreed(Gap(next_one, next_one, _named(lacking, len(heard), why)), those)


def last_of(event: Heard | None) -> int:
    """Return the last iteration that an event accounts for; -1: none."""
    if isinstance(event, Gap):
        return event.last
    return event.iteration if isinstance(event, Came | Rejected) else -1


def _of_rank(rank: int, heard: Sequence[Heard | None]) -> Heard:
    """Return what a rank has heard, with its name where others have heard something else."""
    said = heard[rank]
    assert said is not None
    if isinstance(said, Gap | Rejected | ProducerDied) and any(other != said for other in heard):
        return replace(said, reason=_named(rank, len(heard), said.reason))
    return said


def _named(rank: int, count: int, reason: str) -> str:
    return f"rank {rank} of {count}: {reason}"
