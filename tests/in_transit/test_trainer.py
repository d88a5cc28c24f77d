"""Learning from samples that are pushed; each method's own resume test is in tests/methods."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from insituml.data.chunks import chunk_volume
from insituml.data.lwfa import LwfaField
from insituml.data.mixing import IterationMixing
from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.openpmd.writer import write_series
from insituml.data.step import Step
from insituml.data.task import Batch
from insituml.data.windows import TaskWindows
from insituml.in_transit.trainer import InTransitTrainer
from insituml.learner import ContinualLearner
from insituml.methods import EWC, Combined, ExperienceReplay, Method, Naive
from insituml.models import MLP
from insituml.stream import FieldStream, Finished, RingSource, Source
from insituml.training import DivergedError, EpochRecord, TaskRecord

CHUNK = (4, 32, 4)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(first: int, count: int) -> Batch:
    numbers = torch.arange(first, first + count, dtype=torch.float32)
    return (numbers[:, None] * torch.ones(4),)


class Watching(Naive):
    """Notes what it is shown."""

    def __init__(self) -> None:
        super().__init__(generator=seeded(0))
        self.observed: list[int] = []
        self.trained: list[set[int]] = []
        self.ended: list[tuple[int, list[int]]] = []

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        self.trained.append(set(batch[0][:, 0].int().tolist()))
        return batch

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        self.observed += batch[0][:, 0].int().tolist()

    def end_task(self, learner: ContinualLearner, task: Any) -> None:
        self.ended.append((task.index, sorted(task.train[0][:, 0].int().tolist())))


def make_trainer(method: Method, **options: Any) -> InTransitTrainer:
    learner = MLP(4, (5,), 2, "tanh", generator=seeded(1))
    optimizer = torch.optim.SGD(learner.parameters(), lr=options.pop("lr", 1e-6))
    sizes = {"now_samples": 6, "task_samples": 5, "batches_per_arrival": 2, "batch_size": 4}
    return InTransitTrainer(
        learner, method, optimizer, **{**sizes, "generator": seeded(2), **options}
    )


def test_batches_are_recent_and_each_sample_is_observed_once_in_order() -> None:
    method, records = Watching(), []
    trainer = make_trainer(method, report=records.append)
    for task in range(2):
        trainer.begin_task(task, f"task {task}", samples(15 * task, 3))
        for part in range(5):
            first = 15 * task + 3 * part
            trainer.learn(samples(first, 3))
            oldest = max(15 * task, first - 3)
            for batch in method.trained[-2:]:
                assert batch <= set(range(oldest, first + 3))
                assert len(batch) == min(4, first + 3 - oldest)
        assert trainer.end_task().steps == 10
        assert method.observed == list(range(15 * task + 15))
    for task, kept in method.ended:
        assert len(set(kept)) == 5
        assert set(kept) <= set(range(15 * task, 15 * task + 15))
    assert [type(r) for r in records] == 2 * ([EpochRecord] * 5 + [TaskRecord])
    assert [r.first_step for r in records if isinstance(r, EpochRecord)] == list(range(0, 20, 2))


def test_training_again_draws_from_the_same_samples_and_shows_no_new_ones() -> None:
    method, records = Watching(), []
    trainer = make_trainer(method, report=records.append)
    trainer.begin_task(0, "task", samples(0, 3))
    trainer.learn(samples(0, 3))
    trainer.train_again(5)
    assert len(method.trained) == 7
    assert set().union(*method.trained) == {0, 1, 2}
    assert method.observed == []
    assert [(r.epoch, r.first_step, len(r.losses)) for r in records] == [(0, 0, 2), (0, 2, 5)]
    assert trainer.end_task().steps == trainer.steps == 7
    with pytest.raises(ValueError, match="no task has begun"):
        trainer.train_again(1)


def test_the_sample_of_a_task_is_uniform() -> None:
    counts = torch.zeros(15)
    for seed in range(300):
        method = Watching()
        trainer = make_trainer(method, generator=seeded(seed), batches_per_arrival=1)
        trainer.begin_task(0, "", samples(0, 5))
        for part in range(3):
            trainer.learn(samples(5 * part, 5))
        trainer.end_task()
        counts[method.ended[0][1]] += 1
    # Each is kept in 5 of 15 cases: a binomial of standard deviation 8.2.
    assert counts.sum() == 1500
    assert (counts - 100).abs().max() < 4.5 * 8.2


def prepared(step: Step) -> Batch:
    chunks = chunk_volume(step.values, CHUNK) / 1e12
    return (torch.from_numpy(chunks),)


def learned_from(stream: Source, method: Method, **options: Any) -> tuple[MLP, InTransitTrainer]:
    """Follow a stream: the tasks are windows of its iterations."""
    described = stream.describe()
    assert described.iterations is not None
    windows = TaskWindows.in_time(described.iterations, tasks=3, holdout=0.3)
    learner = MLP((3, *CHUNK), (8,), 3, "tanh", generator=seeded(1))
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    sizes = {"now_samples": 12, "task_samples": 10, "batches_per_arrival": 3, "batch_size": 4}
    trainer = InTransitTrainer(learner, method, optimizer, generator=seeded(2), **sizes, **options)
    for event in stream.events():
        if isinstance(event, Finished):
            break
        assert isinstance(event, Step), event
        task = windows.task_of(event.iteration)
        if trainer.task is not None and trainer.task != task:
            trainer.end_task()
        if trainer.task is None:
            trainer.begin_task(task, windows.name(task), prepared(event))
        if event.iteration not in windows.held_out:
            trainer.learn(prepared(event))
    trainer.end_task()
    return learner, trainer


@pytest.mark.parametrize("kind", ["naive", "replay", "ewc", "mixing"])
def test_a_live_producer_and_a_file_give_the_same_weights(kind: str, tmp_path: Path) -> None:
    methods = {
        "naive": lambda: Naive(generator=seeded(3)),
        "replay": lambda: ExperienceReplay(16, 4, generator=seeded(3)),
        "ewc": lambda: EWC(10.0, fisher_samples=8, generator=seeded(3)),
        "mixing": lambda: Naive(generator=seeded(3)),
    }
    options = {"mix": IterationMixing(2, 8)} if kind == "mixing" else {}
    field = LwfaField(shape=(4, 256, 4), iterations=10, distance_per_iteration=40e-6)
    write_series(tmp_path / "series.h5", field)
    with RingSource(partial(FieldStream, field), slots=2, open_timeout=120) as ring:
        live, trainer = learned_from(ring, methods[kind](), **options)
    file = FieldStream(OpenPMDSeries(tmp_path / "series.h5"))
    from_file, _ = learned_from(file, methods[kind](), **options)
    untrained = MLP((3, *CHUNK), (8,), 3, "tanh", generator=seeded(1))
    pairs = zip(live.parameters(), from_file.parameters(), untrained.parameters(), strict=True)
    for a, b, before in pairs:
        assert torch.equal(a, b)
        assert not torch.equal(a, before)
    assert trainer.buffer_bytes == (12 + 10) * 3 * 4 * 32 * 4 * 4
    assert trainer.steps == 3 * 7


def test_a_method_that_replays_is_told_how_samples_may_be_mixed() -> None:
    mix, told = IterationMixing(1, 3), []

    class Told(Naive):
        def mix_replayed(self, mix: IterationMixing) -> None:
            told.append(mix)

    both = [lambda generator: Told(generator=generator)] * 2
    for method in (Told(generator=seeded(0)), Combined(both, generator=seeded(0))):
        make_trainer(method)
        make_trainer(method, mix=mix)
    assert told == [mix] * 3


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="batches_per_arrival 0"):
        make_trainer(Watching(), batches_per_arrival=0)
    trainer = make_trainer(Watching())
    with pytest.raises(ValueError, match="no task has begun"):
        trainer.learn(samples(0, 3))
    trainer.begin_task(0, "first", samples(0, 3))
    with pytest.raises(ValueError, match=r"task 0 \(first\) has no sample"):
        copy.copy(trainer).end_task()
    with pytest.raises(ValueError, match="task 0 has not ended"):
        trainer.begin_task(1, "second", samples(0, 3))
    diverging = make_trainer(Watching(), lr=1e30, batches_per_arrival=8)
    diverging.begin_task(0, "first", samples(1, 3))
    with pytest.raises(DivergedError, match=r"task 0 \(first\); try a smaller"):
        diverging.learn(samples(1, 3))
