"""What the simulations of an ensemble brought and did not, and what happened to each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from insituml.in_transit.log import StreamLog
from insituml.stream.ensemble_events import Change, EnsembleEvent, Lost
from insituml.stream.events import Finished


@dataclass
class EnsembleLog(StreamLog):
    """As :class:`StreamLog`, with a name beside each iteration."""

    changes: list[list[str]] = field(default_factory=list)
    """Name, what happened to it, and why."""
    lost_iterations: list[list[Any]] = field(default_factory=list)
    """Name, first iteration, last iteration, how many, reason."""

    def note(self, event: EnsembleEvent, say: Callable[[str], None]) -> None:
        if isinstance(event, Change):
            self.changes.append([event.name, event.kind, event.words])
            say(str(event))
        elif isinstance(event, Lost):
            self.lost += event.count
            self.lost_iterations.append(
                [event.name, event.first, event.last, event.count, event.reason]
            )
            say(str(event))
        else:
            super().note(event, say)
            if isinstance(event, Finished):
                self.ending = f"the ensemble finished, {self._in_words()}"

    def may_come_again(self, name: str, after: int | None) -> None:
        """Forget that iterations of a simulation beyond this one are lost: they may yet come."""
        kept = []
        for entry in self.lost_iterations:
            if entry[0] == name and (after is None or entry[1] > after):
                self.lost -= entry[3]
            else:
                kept.append(entry)
        self.lost_iterations = kept

    def summary(self) -> str:
        return super().summary().replace(" lost in 0 gaps", " lost")

    def _in_words(self) -> str:
        """Return how often each thing happened to a simulation."""
        kinds = [kind for _, kind, _ in self.changes]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
