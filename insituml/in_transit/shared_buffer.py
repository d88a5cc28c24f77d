"""The most recent samples of several simulations, none of which crowds out the others."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import torch

from insituml.data.task import Batch
from insituml.in_transit.dealt import Samples
from insituml.in_transit.now_buffer import NowBuffer


class _Arrival(NamedTuple):
    simulation: int
    rows: torch.Tensor


class SharedBuffer(NowBuffer):
    """Holds what came last, arrival by arrival, within one bound.

    Where there is no room, the oldest arrival goes of the simulation that holds the most samples,
    counting those that come: one that sends ten times as much as another holds no more. With one
    simulation it is first in, first out.

    Parameters
    ----------
    capacity
        Samples that it holds at most, of all simulations together.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.simulation = 0
        """Whose samples are added next."""
        self.left: list[tuple[int, int]] = []
        """Of what was returned last: simulation and number of samples, in that order."""
        self._arrivals: list[_Arrival] = []  # oldest first
        self._free = torch.arange(capacity)
        self._order: torch.Tensor | None = None  # rows, oldest first

    def add(self, samples: Samples) -> Batch:
        count = self._checked(samples)
        leaving = []
        while len(self._free) < count:
            leaving.append(self._arrivals.pop(self._next_to_go(count)))
            self._count -= len(leaving[-1].rows)
            self._free = torch.cat([self._free, leaving[-1].rows])
        left = self._taken(leaving)
        rows, self._free = self._free[:count].sort().values, self._free[count:]
        self._write(rows, samples)
        self._arrivals.append(_Arrival(self.simulation, rows))
        self._count += count
        self._order = None
        return left

    def release(self, count: int) -> Batch:
        """Return what came oldest, arrivals whole until there are ``count`` samples."""
        leaving: list[_Arrival] = []
        while self._arrivals and sum(len(a.rows) for a in leaving) < count:
            leaving.append(self._arrivals.pop(0))
        left = self._taken(leaving)
        for arrival in leaving:
            self._count -= len(arrival.rows)
            self._free = torch.cat([self._free, arrival.rows])
        self._order = None
        return left

    def counts(self) -> dict[int, int]:
        """Return how many samples of each simulation it holds."""
        held: Counter[int] = Counter()
        for arrival in self._arrivals:
            held[arrival.simulation] += len(arrival.rows)
        return dict(held)

    def state_dict(self) -> dict[str, Any]:
        """Return the samples held, oldest first, and whose they are."""
        arrivals = [[a.simulation, len(a.rows)] for a in self._arrivals]
        return {**super().state_dict(), "arrivals": arrivals}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._columns, self._count, self._arrivals = (), 0, []
        self._free, self._order = torch.arange(self.capacity), None
        start = 0
        for simulation, count in state["arrivals"]:
            self.simulation = simulation
            self.add(tuple(column[start : start + count] for column in state["columns"]))
            start += count

    def _next_to_go(self, coming: int) -> int:
        """Return the place of the arrival that has to go."""
        held = Counter(self.counts())
        held[self.simulation] += coming
        most = max(held[arrival.simulation] for arrival in self._arrivals)
        return next(k for k, a in enumerate(self._arrivals) if held[a.simulation] == most)

    def _taken(self, arrivals: list[_Arrival]) -> Batch:
        self.left = [(arrival.simulation, len(arrival.rows)) for arrival in arrivals]
        rows = [arrival.rows for arrival in arrivals]
        places = torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)
        return tuple(column[places] for column in self._columns)

    def _rows_at(self, places: torch.Tensor) -> torch.Tensor:
        if self._order is None:
            rows = [arrival.rows for arrival in self._arrivals]
            self._order = torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)
        return self._order[places]
