"""In transit, what is recent is mixed with its neighbours in time, and only that."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch
from insituml.in_transit.trainer import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.methods import Method, Naive
from insituml.models import MLP

PLACES = 3


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def iteration(number: int) -> Batch:
    """Return samples that say iteration and place, times their own noise."""
    own = torch.randn(PLACES, 2, generator=seeded(number)) / 10
    return (torch.column_stack([torch.full((PLACES,), number), torch.arange(PLACES), own]),)


class Watching(Naive):
    """Notes what is trained on, and what it is shown."""

    def __init__(self) -> None:
        super().__init__(generator=seeded(0))
        self.trained: list[Tensor] = []
        self.observed: list[Tensor] = []
        self.ended: list[Tensor] = []

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        self.trained.append(batch[0])
        return batch

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        self.observed.append(batch[0])

    def end_task(self, learner: ContinualLearner, task: Any) -> None:
        self.ended.append(task.train[0])


def make_trainer(method: Method, **options: Any) -> InTransitTrainer:
    learner = MLP((4,), (5,), 2, generator=seeded(1))
    sizes = {"now_samples": 4 * PLACES, "task_samples": 5, "batches_per_arrival": 3}
    optimizer = torch.optim.SGD(learner.parameters(), lr=1e-2)
    options = {"batch_size": 4, "generator": seeded(2), **sizes, **options}
    return InTransitTrainer(learner, method, optimizer, **options)


def push(trainer: InTransitTrainer, numbers: range) -> None:
    for number in numbers:
        if trainer.task is None:
            trainer.begin_task(number // 6, "", iteration(number))
        trainer.learn(iteration(number))
        if number % 6 == 5:
            trainer.end_task()


def test_what_is_trained_on_is_mixed_and_what_is_kept_is_not() -> None:
    method = Watching()
    push(make_trainer(method, mix=IterationMixing(2, PLACES)), range(12))
    came = torch.cat([iteration(k)[0] for k in range(12)])
    assert torch.equal(torch.cat(method.observed), came)
    whole = {tuple(row) for row in came.tolist()}
    assert {tuple(row) for row in torch.cat(method.ended).tolist()} <= whole
    for k in range(12):
        drawn = torch.cat(method.trained[3 * k : 3 * k + 3])
        # The buffer holds up to four iterations, of one task.
        first = max(6 * (k // 6), k - 3)
        assert first <= float(drawn[:, 0].min()) <= float(drawn[:, 0].max()) <= k
        assert set(drawn[:, 1].tolist()) <= {0.0, 1.0, 2.0}
        if k % 6:
            assert bool((drawn[:, 0] % 1 > 0).any())
        else:  # nothing to mix with yet
            assert {tuple(row) for row in drawn.tolist()} <= whole


def test_an_interrupted_task_goes_on_bit_for_bit() -> None:
    mix = IterationMixing(2, PLACES)
    whole, first, second = (make_trainer(Naive(generator=seeded(3)), mix=mix) for _ in range(3))
    push(whole, range(12))
    push(first, range(9))
    second.learner.load_state_dict(copy.deepcopy(first.learner.state_dict()))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.generator.set_state(first.generator.get_state())
    push(second, range(9, 12))
    unmixed = make_trainer(Naive(generator=seeded(3)))
    push(unmixed, range(12))
    for name, value in whole.learner.state_dict().items():
        assert torch.equal(value, second.learner.state_dict()[name])
        assert not torch.equal(value, unmixed.learner.state_dict()[name])


def test_samples_of_no_whole_iteration_are_refused() -> None:
    trainer = make_trainer(Naive(generator=seeded(0)), mix=IterationMixing(2, PLACES))
    part = tuple(column[:2] for column in iteration(0))
    trainer.begin_task(0, "first", part)
    with pytest.raises(ValueError, match=r"task 0 \(first\) has 2 samples, but whole"):
        trainer.learn(part)
