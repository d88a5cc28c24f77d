"""Tests of your own model and method: run them by `pytest`."""

from __future__ import annotations

import pytest
import torch
from my_method import MyMethod
from my_model import MyModel

from insituml.data.task import Task

SHAPE = (3, 4, 5, 2)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_model_gives_samples_back_in_their_shape() -> None:
    samples = torch.randn(7, *SHAPE, generator=seeded(1))
    model = MyModel(SHAPE, latent_size=6)
    latents = model.encode(samples)
    assert latents.shape == (7, 6)
    assert model.decode(latents).shape == samples.shape


def test_the_same_seed_gives_the_same_weights() -> None:
    first, same, other = (MyModel(SHAPE, generator=seeded(seed)) for seed in (1, 1, 2))
    assert all(map(torch.equal, first.parameters(), same.parameters()))
    assert not torch.equal(first.encoder.linear.weight, other.encoder.linear.weight)


def test_a_model_learns() -> None:
    samples = torch.randn(8, *SHAPE, generator=seeded(1))
    model = MyModel(SHAPE, latent_size=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = model.loss((samples,)).item()
    for _ in range(100):
        optimizer.zero_grad()
        model.loss((samples,)).backward()
        optimizer.step()
    assert model.loss((samples,)).item() < 0.1 * before


def test_the_penalty_is_the_distance_from_the_last_tasks_weights() -> None:
    samples = torch.randn(4, *SHAPE, generator=seeded(1))
    model = MyModel(SHAPE)
    method = MyMethod(strength=3.0, generator=seeded(0))
    assert method.penalty(model, (samples,), None) is None  # in the first task
    method.end_task(model, Task(0, "first", train=(samples,), test=(samples,)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5
    numbers = sum(parameter.numel() for parameter in model.parameters())
    penalty = method.penalty(model, (samples,), None)
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.5 * 3.0 * 0.25 * numbers, rel=1e-5)
