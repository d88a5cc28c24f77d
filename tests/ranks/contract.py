"""What several ranks promise each other, tried out on each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from insituml import rank_rows, ranks
from insituml.data.task import Batch, Task, joined
from insituml.estimates import (
    all_columns,
    draw,
    largest,
    mean_over,
    number_of,
    numbers_of,
    sums_over,
    union,
)
from insituml.in_transit import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.memory import ReservoirMemory
from insituml.methods import Method, Naive
from insituml.methods.incremental_pca import IncrementalPCA
from insituml.models import MLP, PrincipalComponents
from insituml.optimisation import Stepper
from insituml.training import train
from tests.ranks import sharded
from tests.ranks.learning import SHAPE, make_tasks


class Drifting(Naive):
    """Moves the weights by what each rank has of its own."""

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        with torch.no_grad():
            next(learner.parameters()).add_(float(ranks.rank()))


class Counting(Method):
    """Draws as many samples as this rank has: a mistake."""

    def __init__(self, *, generator: torch.Generator) -> None:
        super().__init__(generator=generator)
        self.memory = ReservoirMemory(9, generator=generator)

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        return joined(batch, self.memory.sample(len(batch[0]))) if len(self.memory) else batch

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        self.memory.add(batch, 0)


def model(seed: int) -> ContinualLearner:
    return MLP(SHAPE, [12], 4, "tanh", generator=torch.Generator().manual_seed(seed)).double()


def learn(
    learner: ContinualLearner, kind: Callable[..., Method] = Naive, batch_size: int = 7
) -> list[Any]:
    parameters = [*learner.parameters()] or [torch.zeros(1, requires_grad=True)]
    return list(
        train(
            learner,
            kind(generator=torch.Generator().manual_seed(ranks.rank())),
            make_tasks((9, 8)),
            torch.optim.Adam(parameters, lr=0.01),
            epochs=2,
            batch_size=batch_size,
            generator=torch.Generator().manual_seed(ranks.rank()),
        )
    )


def from_other_weights() -> Any:
    learner = model(ranks.rank())
    learn(learner)
    return dict(learner.state_dict())


def from_other_weights_in_transit() -> Any:
    learner, transit = model(ranks.rank()), {"now_samples": 6, "task_samples": 6}
    trainer = InTransitTrainer(
        learner,
        Naive(generator=torch.Generator().manual_seed(ranks.rank())),
        torch.optim.Adam(learner.parameters(), lr=0.01),
        **transit,
        batches_per_arrival=2,
        batch_size=3,
        generator=torch.Generator().manual_seed(ranks.rank()),
    )
    samples = make_tasks((5,))[0].train
    trainer.begin_task(0, "first", samples)
    trainer.learn(samples)
    trainer.end_task()
    return dict(learner.state_dict())


def counted_by_all() -> list[int]:
    """Return the FLOPs of principal components, and of a task that goes on from a checkpoint."""
    learner = PrincipalComponents(SHAPE, 3).double()
    (record, *_) = learn(learner, IncrementalPCA)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    method = Naive(generator=torch.Generator())
    stepper = Stepper(learner, method, optimizer, generator=torch.Generator())
    stepper.work.flops = 10
    again = Stepper(learner, method, optimizer, generator=torch.Generator())
    again.load_state_dict(stepper.state_dict())
    return [record.flops, again.record(make_tasks()[0], 1, 0.0, 0.0).flops]


def estimated(count: int) -> dict[str, Any]:
    """Return what is estimated from so many samples, of which each rank has its share."""
    samples = tuple(column[ranks.share()] for column in make_tasks((count,))[0].train)
    size = samples[0].flatten(1).square().sum(dim=1)
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    mean = mean_over(samples, lambda some: (weight**3 * some[0]).square().mean())
    first, second = sums_over(samples, lambda some: [(weight * some[0]).sum(), some[0].sum()], 2)
    loss = mean + first / second.detach()
    if loss.requires_grad:  # nothing of it depends on the weight where there is no sample
        loss.backward()
    ranks.average_gradients([weight])
    chosen = largest(size, 3)
    drawn = draw((size,), 3, generator=torch.Generator().manual_seed(2))
    matrices = {"layer": samples[0].flatten(1).mT} if len(size) else {}
    columns = all_columns(matrices, weight.device)["layer"]
    return {
        "number": number_of(samples),
        "mean": mean.detach(),
        "sums": torch.stack([first.detach(), second.detach()]),
        "slope": weight.grad,
        # What each rank has of these is put together, in one order.
        "numbers": rank_rows.stacked(numbers_of(samples)).sort().values,
        "largest": rank_rows.stacked(size[chosen]).sort().values,
        "descending": bool((size[chosen].diff() <= 0).all()),
        "drawn": rank_rows.stacked(drawn[0]).sort().values,
        "union": sorted(union(set(numbers_of(samples).tolist()))),
        "energy": columns @ columns.mT,
    }


TRIED: dict[str, Callable[[], Any]] = {
    "estimates from 7": lambda: estimated(7),
    "estimates from 1": lambda: estimated(1),
    "from other weights": from_other_weights,
    "in transit": from_other_weights_in_transit,
    "flops": counted_by_all,
    "drifting": lambda: learn(model(0), Drifting),
    "counting": lambda: learn(model(0), Counting),
    "other arguments": lambda: learn(model(0), batch_size=7 + ranks.rank()),
    "other model": lambda: learn(model(0) if ranks.rank() else PrincipalComponents(SHAPE, 3)),
    "batch normalisation": lambda: learn(_normalised()),
}


def _normalised() -> ContinualLearner:
    learner = model(0)
    learner.norm = nn.SyncBatchNorm(2)
    return learner


def tried() -> dict[str, Any]:
    """Return what came of each, or what was said against it."""
    found: dict[str, Any] = {}
    for name, act in TRIED.items():
        try:
            found[name] = act()
        except ValueError as error:
            found[name] = str(error)
    return found


def leave(rank: int, folder: Path) -> None:
    """Try everything, as one of several ranks, and leave what came of it."""
    torch.save(tried() | sharded.tried(folder), folder / str(rank))
