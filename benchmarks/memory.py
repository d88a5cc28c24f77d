"""Time of storing and drawing a batch, for each kind of memory, against plain tensor indexing.

The plain side copies the same bytes by ``tensor[index]``: the offered batch into rows of a
preallocated tensor, or random rows out of it. Both sides run by turns, on a memory that is full.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.report import Row, concluded, options
from insituml.memory import (
    HerdingMemory,
    LossAwareMemory,
    Memory,
    QuotaMemory,
    ReservoirMemory,
    RingMemory,
)

STREAMING = (ReservoirMemory, QuotaMemory, RingMemory, LossAwareMemory)
SHAPES = {"field chunks": (3, 12, 32, 12), "points": (2,)}
BATCH = 64
TASKS = 4
FEATURES = 16


@dataclass(frozen=True)
class Size:
    """How much to measure: rows of the memory, turns of each side."""

    rows: int
    turns: int


def typical_by_turns(turns: int, *functions: Callable[[], object]) -> list[float]:
    """Return the median time of each function, in seconds; they run one after the other."""
    # Not the shortest: a batch of which a reservoir takes nothing would stand for all.
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(turns + 2):
        for function, own in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            if turn >= 2:  # the first ones warm up
                own.append(time.perf_counter() - started)
    return [statistics.median(own) for own in times]


def streaming_rows(shape: tuple[int, ...], size: Size, label: str, is_large: bool) -> list[Row]:
    """Measure ``add`` and ``sample`` of all kinds that are filled batch by batch."""
    generator = torch.Generator().manual_seed(0)
    batch = (torch.randn(BATCH, *shape, generator=generator),)
    losses = torch.rand(BATCH, generator=generator)
    plain = torch.zeros(size.rows, *shape)
    rows = []
    for kind in STREAMING:
        memory = filled(kind, batch, losses, size.rows, generator)

        def add(memory: Memory = memory) -> None:
            memory.add(batch, TASKS - 1, losses)

        def plain_add() -> None:
            plain[torch.randperm(size.rows, generator=generator)[:BATCH]] = batch[0]

        def sample(memory: Memory = memory) -> None:
            memory.sample(BATCH)

        def plain_sample() -> None:
            plain[torch.randperm(size.rows, generator=generator)[:BATCH]]

        times = typical_by_turns(size.turns, add, plain_add, sample, plain_sample)
        for name, own, bare in (("add", *times[:2]), ("sample", *times[2:])):
            title = f"{label}: {kind.__name__}.{name}"
            if is_large:
                rows.append(Row.at_most(f"{title}, of tensor[index]", own / bare, 1.1))
            else:  # a fixed effort per call is all there is, and depends on the machine
                rows.append(Row(f"{title}, microseconds more", 1e6 * (own - bare)))
    return rows


def filled(
    kind: Callable[..., Memory],
    batch: tuple[torch.Tensor, ...],
    losses: torch.Tensor,
    rows: int,
    generator: torch.Generator,
) -> Memory:
    """Return a memory that several tasks have filled, each long enough to fill it alone."""
    memory = kind(rows, generator=generator)
    for task in range(TASKS):
        for _ in range(-(-rows // BATCH)):
            memory.add(batch, task, losses)
    assert len(memory) == rows
    return memory


def herding_row(shape: tuple[int, ...], size: Size, label: str) -> Row:
    """Measure the end of a second task, whose share is half of the memory."""
    generator = torch.Generator().manual_seed(0)
    samples = (torch.randn(2 * size.rows, *shape, generator=generator),)
    features = torch.randn(2 * size.rows, FEATURES, generator=generator)
    plain = torch.zeros(size.rows, *shape)

    memories = []
    for _ in range(size.turns + 2):
        memories.append(HerdingMemory(size.rows))
        memories[-1].finish_task(samples, 0, features)

    def plain_copy() -> None:
        first, second = torch.randperm(size.rows, generator=generator).chunk(2)
        plain[first] = samples[0][second]

    own, bare = typical_by_turns(
        size.turns, lambda: memories.pop().finish_task(samples, 1, features), plain_copy
    )
    return Row(f"{label}: HerdingMemory.finish_task, of tensor[index]", own / bare)


def half_precision_row(shape: tuple[int, ...], size: Size, label: str) -> Row:
    """Measure a draw from float16 against one from float32."""
    generator = torch.Generator().manual_seed(0)
    batch = (torch.randn(BATCH, *shape, generator=generator),)
    full, half = (
        ReservoirMemory(size.rows, dtype=d, generator=generator) for d in (None, "float16")
    )
    for memory in (full, half):
        for _ in range(-(-size.rows // BATCH)):
            memory.add(batch, 0)
    times = typical_by_turns(size.turns, lambda: half.sample(BATCH), lambda: full.sample(BATCH))
    return Row(f"{label}: sample from float16, of sample from float32", times[0] / times[1])


def measure(size: Size) -> list[Row]:
    """Return all rows, with one thread; the number of threads is left as it was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = []
        for label, shape in SHAPES.items():
            rows += streaming_rows(shape, size, label, is_large=shape != SHAPES["points"])
        label = "field chunks"
        rows.append(herding_row(SHAPES[label], Size(size.rows, min(size.turns, 5)), label))
        rows.append(half_precision_row(SHAPES[label], size, label))
    finally:
        torch.set_num_threads(threads)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = options(__doc__).parse_args(arguments)
    rows = measure(Size(rows=256, turns=50) if parsed.quick else Size(rows=1024, turns=300))
    return concluded(rows, parsed.json)


if __name__ == "__main__":
    raise SystemExit(main())
