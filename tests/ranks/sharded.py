"""A learner of which each rank holds a part: how much, and what goes on from its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from insituml.checkpoint import resume, save_checkpoint
from insituml.data.task import Batch
from insituml.learner import ContinualLearner
from insituml.methods import EWC, ExperienceReplay, Naive
from insituml.models import MLP
from insituml.sharding import shard
from insituml.shards import own_part, whole
from insituml.training import train
from tests.ranks.learning import SHAPE, make_tasks

UNIT = 100
"""Numbers: the outer layers of these models are units, and what is left of encoder and decoder."""


def learner_of(sharded: bool) -> ContinualLearner:
    learner = MLP(SHAPE, [12], 4, "tanh", generator=torch.Generator().manual_seed(1)).double()
    if sharded:
        shard(learner, UNIT)
    return learner


def weights_after(path: Path, *, sharded: bool, finished: int) -> dict[str, Any]:
    """Return the weights after two tasks, of which none or the first lies in a file."""
    learner = learner_of(sharded)
    method = ExperienceReplay(11, 5, generator=torch.Generator().manual_seed(3))
    state: dict[str, Any] = {
        "method": method,
        "optimizer": torch.optim.Adam(learner.parameters(), lr=0.01, amsgrad=True),
        "generator": torch.Generator().manual_seed(4),
    }
    steps = resume(path, learner, **state)["steps"] if finished else 0
    done = {"finished_tasks": finished, "finished_steps": steps}
    for record in train(
        learner,
        method,
        make_tasks((9, 8)),
        state["optimizer"],
        epochs=2,
        batch_size=4,
        generator=state["generator"],
        **done,
    ):
        if record.task == 0:
            save_checkpoint(path, learner, **state, metadata={"steps": record.steps})
    return whole(dict(learner.state_dict()))


def held() -> tuple[int, int]:
    """Return how many numbers this rank holds of a learner, its gradient and Adam, and of all."""
    learner = learner_of(sharded=True)
    optimizer = torch.optim.Adam(learner.parameters())
    learner.loss(make_tasks()[0].train).backward()
    optimizer.step()
    kept = [t for p in learner.parameters() for t in (p, p.grad, *_moments(optimizer, p))]
    return sum(own_part(t).numel() for t in kept), sum(t.numel() for t in kept)


def _moments(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> list[torch.Tensor]:
    return [optimizer.state[parameter][name] for name in ("exp_avg", "exp_avg_sq")]


def refused() -> str:
    """Return what is said of a method that needs whole weights."""
    learner, generator = learner_of(sharded=True), torch.Generator()
    optimizer = torch.optim.Adam(learner.parameters())
    given: dict[str, Any] = {"epochs": 1, "batch_size": 4, "generator": generator}
    try:
        next(train(learner, EWC(1.0, generator=generator), make_tasks(), optimizer, **given))
    except ValueError as error:
        return str(error)
    return ""


class Taking(MLP):
    """Takes a weight of a module that it does not call."""

    calls_same_modules = True

    def loss(self, batch: Batch) -> torch.Tensor:
        return (batch[0].flatten(1) @ self.encoder.layers[0].weight.T).square().mean()


class Penalised(MLP):
    """Takes all weights as they are."""

    calls_same_modules = True

    def loss(self, batch: Batch) -> torch.Tensor:
        return super().loss(batch) + sum(p.square().sum() for p in self.parameters())


def said_of(kind: type[MLP], optimizer_of: Any = torch.optim.Adam) -> str:
    """Return what is said of a learner in parts, and of its optimizer, in the first step."""
    learner, generator = kind(SHAPE, [12], 4).double(), torch.Generator()
    shard(learner, UNIT)
    optimizer = optimizer_of(learner.parameters())
    given: dict[str, Any] = {"epochs": 1, "batch_size": 4, "generator": generator}
    try:
        next(train(learner, Naive(generator=generator), make_tasks(), optimizer, **given))
    except ValueError as error:
        return str(error)
    return ""


def restored() -> torch.Tensor:
    """Return what a learner makes of samples beside its loss, encoder and decoder apart."""
    learner = learner_of(sharded=True).eval()
    with torch.no_grad():
        return learner.decode(learner.encode(make_tasks()[0].train[0]))


def tried(folder: Path) -> dict[str, Any]:
    file = folder / "after_task_0.pt"
    return {
        "file of a part each": file,
        "uninterrupted": weights_after(file, sharded=True, finished=0),
        "parts gone on with": weights_after(file, sharded=True, finished=1),
        "wholes gone on with": weights_after(file, sharded=False, finished=1),
        "held": held(),
        "refused": refused(),
        "taken": said_of(Taking),
        "penalised": said_of(Penalised),
        "of an optimizer": said_of(MLP, torch.optim.Adafactor),
        "restored": restored(),
    }
