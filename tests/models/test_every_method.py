"""Every method trains the models that observe and those with a spatial latent."""

from __future__ import annotations

import copy

import pytest
import torch

from insituml.data.task import Task
from insituml.models import ConvolutionalAutoEncoder, HybridAutoEncoder
from insituml.training import train
from tests.method_examples import NAMES, make

SHAPE = (2, 4, 6)
BUILDERS = {
    "hybrid": lambda g: HybridAutoEncoder(SHAPE, (3, 4), 4, hidden_size=6, generator=g),
    "corrected": lambda g: HybridAutoEncoder(SHAPE, (3,), 4, "corrected", 6, generator=g),
    "convolutional": lambda g: ConvolutionalAutoEncoder(SHAPE, (3, 4), 2, "layer", generator=g),
}


UNMOVED = {"GPM", "JointConverged"}
"""What may hold everything, as small as these models are, or has ended before the last part."""
NOT_FOR_THESE = {"GenerativeReplay", "IncrementalPCA"}
"""What needs a learner that samples, or one that learns by observing alone."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tasks() -> list[Task]:
    made = []
    for k in range(3):
        x = torch.randn(10, *SHAPE, generator=seeded(k)) * (1 + k)
        made.append(Task(k, f"task {k}", (x,), (x,), validation=(x,)))
    return made


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NOT_FOR_THESE])
@pytest.mark.parametrize("model", BUILDERS)
def test_it_learns_every_task(model: str, name: str) -> None:
    learner = BUILDERS[model](seeded(0))
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)
    method = make(name, seeded(1))
    epochs = 1 if method.sequential else 3  # a part each for the three that joint training has
    generator = seeded(2)
    loop = train(
        learner, method, tasks(), optimizer, epochs=epochs, batch_size=4, generator=generator
    )
    last = copy.deepcopy(learner.state_dict())
    for _ in loop:
        now = copy.deepcopy(learner.state_dict())
        assert all(value.isfinite().all() for value in now.values())
        moved = [n for n, p in learner.named_parameters() if not torch.equal(now[n], last[n])]
        assert moved or name in UNMOVED or not method.learns_by_gradient
        last = now
