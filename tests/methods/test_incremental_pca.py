"""The baseline in both trainers: one pass, no steps, and an exact state."""

from __future__ import annotations

import copy

import pytest
import torch

from insituml.data.task import Task
from insituml.in_transit import InTransitTrainer
from insituml.methods import Combined, IncrementalPCA, Naive
from insituml.models import MLP, PrincipalComponents
from insituml.training import train


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tasks_of(count: int = 3) -> list[Task]:
    x = torch.randn(count, 12, 9, generator=seeded(0)) * torch.exp(-0.4 * torch.arange(9))
    return [Task(k, f"task {k}", (part,), (part[:3],)) for k, part in enumerate(x)]


def optimizer_of(learner: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(learner.parameters())


def run(tasks: list[Task], order: int = 1, **options: int):
    learner, method = PrincipalComponents((9,), 3), IncrementalPCA(generator=seeded(0))
    options = {"epochs": 5, "batch_size": 4, **options}
    generator = seeded(order)
    records = list(
        train(learner, method, tasks, optimizer_of(learner), generator=generator, **options)
    )
    return learner, method, records


def test_one_pass_whatever_the_epochs_and_nothing_is_trained() -> None:
    tasks = tasks_of()
    learner, method, records = run(tasks)
    assert int(learner.count) == 36
    assert [(r.steps, r.by_gradient) for r in records] == [(3, False)] * 3
    rows = torch.cat([t.train[0] for t in tasks])
    right = torch.linalg.svd(rows)[2][:3]
    best = float((rows - rows @ right.T @ right).square().mean())
    loss = float(learner.loss((rows,)))
    assert best - 1e-6 <= loss <= best + float(learner.discarded) / rows.numel() + 1e-6
    assert method.memory_bytes() == 4 * 6 * 9 + 8 * 6 + 8 + 8


def test_it_forgets_less_than_what_it_keeps_out() -> None:
    """A direction that the first task alone has is kept while later ones add no stronger ones."""
    first, second = (torch.zeros(12, 9) for _ in range(2))
    first[:, 0], second[:, 1] = 2.0, 1.0
    tasks = [Task(k, f"task {k}", (x,), ()) for k, x in enumerate((first, second))]
    learner = run(tasks)[0]
    assert float(learner.loss((first,))) < 1e-10
    assert float(learner.loss((second,))) < 1e-10


def test_a_stream_gives_what_the_same_blocks_give_and_resumes() -> None:
    (task,) = tasks_of(1)

    def parts():
        learner, method = PrincipalComponents((9,), 3), IncrementalPCA(generator=seeded(0))
        options = {"now_samples": 4, "task_samples": 4, "batches_per_arrival": 2, "batch_size": 3}
        optimizer = optimizer_of(learner)
        trainer = InTransitTrainer(learner, method, optimizer, generator=seeded(2), **options)
        return learner, method, trainer

    learner, method, trainer = parts()
    trainer.begin_task(0, "task 0", task.train)
    blocks = task.train[0].split(3)
    for number, block in enumerate(blocks):
        if number == 2:  # killed here
            again, other, going_on = parts()
            again.load_state_dict(learner.state_dict())
            other.load_state_dict(copy.deepcopy(method.state_dict()), again)
            going_on.load_state_dict(copy.deepcopy(trainer.state_dict()))
            learner, method, trainer = again, other, going_on
        trainer.learn((block,))
    trainer.end_task()
    expected = PrincipalComponents((9,), 3)
    for block in blocks:
        expected.observe((block,))
    for key, value in expected.state_dict().items():
        assert torch.equal(learner.state_dict()[key], value), key
    assert method.memory_bytes() > 0


def test_a_learner_that_observes_nothing_is_refused() -> None:
    learner, method = MLP(9, (4,), 2), IncrementalPCA(generator=seeded(0))
    with pytest.raises(ValueError, match=r"MLP does not define observe\(batch\)"):
        list(
            train(
                learner,
                method,
                tasks_of(1),
                optimizer_of(learner),
                epochs=1,
                batch_size=4,
                generator=seeded(1),
            )
        )


def test_gradients_have_nothing_to_do_with_it() -> None:
    learner = PrincipalComponents((9,), 3)
    options = {"epochs": 1, "batch_size": 4, "generator": seeded(1)}
    naive = Naive(generator=seeded(0))
    with pytest.raises(ValueError, match="no trainable parameter takes part in the loss"):
        list(train(learner, naive, tasks_of(1), optimizer_of(learner), **options))
    with pytest.raises(ValueError, match="IncrementalPCA takes no gradients"):
        Combined([Naive, IncrementalPCA], generator=seeded(0))
