"""What a trainer of several simulations refuses, and what one task alone means to each method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from insituml.data.mixing import IterationMixing
from insituml.in_transit import EnsembleTrainer
from insituml.methods import AGEM, DER, EWC, GEM, Combined, DERPlusPlus, ExperienceReplay, Method
from insituml.models import MLP


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_trainer(method: Method, **options: Any) -> EnsembleTrainer:
    learner = MLP(4, (3,), 2, generator=seeded())
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    sizes = {"now_samples": 4, "task_samples": 6, "batches_per_arrival": 1, "batch_size": 3}
    return EnsembleTrainer(learner, method, optimizer, generator=seeded(1), **sizes, **options)


def learn(trainer: EnsembleTrainer, arrivals: int) -> None:
    """Two samples an arrival: the buffer, of two arrivals, is full after the second."""
    draws = seeded(2)
    for k in range(arrivals):
        samples = (torch.randn(2, 4, generator=draws),)
        if k == 0:
            trainer.begin_task(0, "all", samples)
        trainer.learn(samples, k % 2)


@pytest.mark.parametrize("combined", [False, True])
@pytest.mark.parametrize("one_task", [False, True])
def test_of_one_task_what_left_the_buffer_is_replayed_at_once(one_task, combined) -> None:
    kinds: list[Callable[..., Method]] = [partial(ExperienceReplay, 8, 3), partial(EWC, 1.0)]
    method: Method = (
        Combined(kinds, generator=seeded()) if combined else kinds[0](generator=seeded())
    )
    learn(make_trainer(method, one_task=one_task), 5)
    # Three of five arrivals met a full buffer: their batches have 3 stored samples, the first 2.
    assert method.samples_replayed == (2 + 3 + 3 if one_task else 0)


def test_references_of_one_task_are_what_left_the_buffer_or_none() -> None:
    methods = [kind(8, 2, generator=seeded()) for kind in (AGEM, GEM)]
    for method in methods:
        learn(make_trainer(method, one_task=True), 5)
    assert methods[1].past_tasks() == []


@pytest.mark.parametrize("kind", [DER, DERPlusPlus])
def test_outputs_of_a_task_that_has_not_ended_are_never_learned_from(kind) -> None:
    with pytest.raises(ValueError, match="there is one task alone; learn several"):
        make_trainer(kind(8, generator=seeded()), one_task=True)
    both = Combined([partial(ExperienceReplay, 8), partial(kind, 8)], generator=seeded())
    with pytest.raises(ValueError, match="there is one task alone"):
        make_trainer(both, one_task=True)
    make_trainer(kind(8, generator=seeded()))


def test_iterations_of_different_simulations_are_not_mixed() -> None:
    with pytest.raises(ValueError, match=r"of several lie side by side here; set it to None"):
        make_trainer(ExperienceReplay(8, generator=seeded()), mix=IterationMixing(2, 2))
