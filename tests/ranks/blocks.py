"""Streams of which each rank reads a block of its own, in this process or on one of many ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insituml import ranks
from insituml.data import Step, TaskWindows
from insituml.data.blocks import Block, slabs
from insituml.data.task import Batch
from insituml.in_transit import Arrivals, Cutter, Dealt, HeldOut, InTransitTrainer
from insituml.in_transit.dealt import Samples
from insituml.methods import EWC, ExperienceReplay, IncrementalPCA, Method
from insituml.models import MLP, PrincipalComponents
from insituml.rank_rows import handed
from insituml.stream import Description, Event, RingSource
from insituml.stream.shared import SharedStream
from tests.ranks.block_sources import source_of

CHUNK = (1, 2, 1)
"""Of the fields of ``write_fields``: 2, 4 and 2 of them along the axes."""
TAUGHT = {"bp": ["replay", "ewc", "pca"], "npy": ["pca", "replay"]}
"""Methods by the kind of stream; of others one."""
NOW, KEPT = 35, 7
"""Samples held: no multiples of the ranks, nor of the 16 of an iteration."""
METHODS: dict[str, Callable[..., Method]] = {
    "replay": partial(ExperienceReplay, 11, 5),
    "ewc": partial(EWC, 2.0, fisher_samples=9),
    "pca": IncrementalPCA,
}


class InDouble(InTransitTrainer):
    """Learns in float64 what a stream brings in float32."""

    def begin_task(self, task: int, name: str, first: Samples, **options: Any) -> None:
        super().begin_task(task, name, doubled(first), **options)

    def learn(self, samples: Samples) -> None:
        super().learn(doubled(samples))


def doubled(samples: Samples) -> Samples:
    if isinstance(samples, Dealt):
        return Dealt(double(samples.share), samples.count)
    return double(samples)


def double(batch: Batch) -> Batch:
    return tuple(column.double() for column in batch)


def trainer_of(name: str) -> InDouble:
    seeded = torch.Generator().manual_seed(1)
    learner: Any = PrincipalComponents((3, *CHUNK), 3)
    if name != "pca":
        learner = MLP((3, *CHUNK), [12], 4, "tanh", generator=seeded)
    learner.double()
    parameters = [*learner.parameters()] or [torch.zeros(1, requires_grad=True)]
    return InDouble(
        learner,
        METHODS[name](generator=torch.Generator().manual_seed(3)),
        torch.optim.Adam(parameters, lr=0.01),
        now_samples=NOW,
        task_samples=KEPT,
        batches_per_arrival=2,
        batch_size=5,
        generator=torch.Generator().manual_seed(4),
    )


def learned(
    events: Iterator[Event],
    description: Description,
    blocks: Sequence[Block] | None,
    methods: Sequence[str] = tuple(METHODS),
) -> dict[str, Any]:
    """Teach each method what a stream brings; return weights, and what was set aside."""
    assert description.iterations is not None
    windows = TaskWindows.in_time(description.iterations, 2, 0.3)
    arrivals = Arrivals(Cutter(description, CHUNK), windows, HeldOut(2, 10**7, 10**3))
    if ranks.size() > 1:
        arrivals.divide(blocks)
    trainers = {name: trainer_of(name) for name in methods}
    for event in events:
        if not isinstance(event, Step):
            break
        for arrival in arrivals.take(event):
            if arrival.batch is None:
                continue
            for trainer in trainers.values():
                if trainer.task not in (None, arrival.task):
                    trainer.end_task()
                if trainer.task is None:
                    trainer.begin_task(arrival.task, "", arrival.batch)
                trainer.learn(arrival.batch)
    for trainer in trainers.values():
        trainer.end_task()
    assert arrivals.normalisation is not None
    return {
        "weights": {name: dict(t.learner.state_dict()) for name, t in trainers.items()},
        "scale": [arrivals.normalisation.mean, arrivals.normalisation.std],
        "held out": [c for task in range(2) for c in arrivals.held_out.samples(task)],
        "bytes held": trainers[methods[-1]].buffer_bytes,
    }


def read_together(kind: str, folder: Path) -> dict[str, Any]:
    """Learn from a stream of which each rank reads a block; of kind "whole", the first rank all."""
    reads = kind != "whole" or ranks.rank() == 0
    with SharedStream(RingSource(partial(source_of, kind, folder)) if reads else None) as stream:
        described = stream.describe()
        blocks = None
        if kind != "whole":
            assert described.grid is not None
            blocks = slabs(described.grid.shape, CHUNK, ranks.size())
        events = stream.events(blocks=blocks)
        if kind == "faulty":
            said = [e.iteration if isinstance(e, Step) else e for e in events]
            return {"events": said}
        found = learned(events, described, blocks, TAUGHT.get(kind, ["ewc"]))
        return {**found, "bytes read": stream.bytes_read}


def read_alone(folder: Path) -> dict[str, Any]:
    """Learn from all of the same in one process."""
    source = source_of("npy", folder)
    return learned(iter(source.events()), source.describe(), None)


def rows_are_handed() -> None:
    """Every rank takes what others hold, as bytes of any kind, also where some have nothing."""
    draws = np.random.default_rng(0)
    for count in (1, 7, 40):
        holders, takers = torch.from_numpy(draws.integers(ranks.size(), size=(2, count)))
        whole = (torch.arange(2.0 * count).view(-1, 2), torch.arange(count), torch.empty(count, 0))
        own = tuple(column[holders == ranks.rank()] for column in whole)
        for found, column in zip(handed(own, holders, takers), whole, strict=True):
            assert torch.equal(found, column[takers == ranks.rank()])


def read_all(rank: int, folder: Path, kinds: Sequence[str]) -> None:
    """Read streams of these kinds, as one of several ranks, and write what came of it."""
    rows_are_handed()
    for kind in kinds:
        torch.save(read_together(kind, folder), folder / f"{kind} of {rank} of {ranks.size()}")
