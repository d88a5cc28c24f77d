"""What learning in transit keeps of what arrives: recent samples, and a sample of the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch
from insituml.in_transit.now_buffer import NowBuffer
from insituml.memory.rows import RowMemory


class Kept:
    """The most recent samples, and a uniform sample of the current task.

    On several ranks each has its share of both.

    Parameters
    ----------
    now
        Gets what is recent.
    make_sample
        Makes what gets the sample of a task.
    generator
        Of what is drawn from the recent samples.
    """

    def __init__(
        self, now: NowBuffer, make_sample: Callable[[], RowMemory], generator: torch.Generator
    ) -> None:
        self.now = now
        self.make_sample = make_sample
        self.generator = generator
        self.sample = make_sample()

    @property
    def bytes(self) -> int:
        """Bytes of both; on several ranks, of this one's."""
        sample = self.sample.stored() if len(self.sample) else ()
        return self.now.bytes + sum(column.nbytes for column in sample)

    def begin_task(self) -> None:
        """Begin another sample: what is recent stays."""
        self.sample = self.make_sample()

    def draws(
        self, batches: int, size: int, together: int, mix: IterationMixing | None
    ) -> Iterator[Batch]:
        """Draw batches of recent samples, so many of them together; the last may be fewer."""
        for done in range(0, batches, together):
            count = min(together, batches - done) * size
            yield self.now.draw(count, generator=self.generator, mix=mix)

    def released(self, count: int) -> Iterator[Batch]:
        """Let go of what is recent, oldest first, so many samples at once."""
        while len(self.now):  # all at once would double the buffer
            yield self.now.release(count)

    def state_dict(self) -> dict[str, Any]:
        return {"now": self.now.state_dict(), "task_sample": self.sample.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.now.load_state_dict(state["now"])
        self.sample.load_state_dict(state["task_sample"])


def check_positive(*sizes: Mapping[str, int]) -> None:
    """Raise ValueError unless all numbers, by name, are 1 or more."""
    named = {name: value for group in sizes for name, value in group.items()}
    if min(named.values()) < 1:
        said = ", ".join(f"{name} {value}" for name, value in named.items())
        raise ValueError(f"got {said}; expected 1 or more of each")
