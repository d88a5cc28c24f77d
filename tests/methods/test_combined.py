"""Methods that run side by side do what each of them does, in the order given."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from insituml.data.task import Task, joined
from insituml.gradients import project
from insituml.methods import (
    AGEM,
    EWC,
    GPM,
    Combined,
    Cumulative,
    ExperienceReplay,
    Joint,
    LwF,
    Naive,
    SynapticIntelligence,
)
from insituml.models import MLP
from insituml.training import train


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_tasks(count: int = 2) -> list[Task]:
    generator, tasks = seeded(10), []
    for k in range(count):
        x = torch.randn(16, 4, generator=generator, dtype=torch.float64) * (k + 1) + k
        tasks.append(Task(k, f"task {k}", (x,), (x[:4],)))
    return tasks


def learned(method, tasks: list[Task], model=MLP) -> MLP:
    """Train on all tasks but the last, and begin that one."""
    learner = model(4, (6,), 2, generator=seeded(1)).double()
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
    options = {"epochs": 2, "batch_size": 4, "generator": seeded(2)}
    list(train(learner, method, tasks[:-1], optimizer, **options))
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.1)
    learner.zero_grad()
    method.begin_task(learner, tasks[-1])
    return learner


def flat(tensors) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


class Opposed(MLP):
    """Wants the opposite on the second task, whose samples have the larger mean."""

    def objective(self, output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
        sign = -1.0 if batch[0].mean() > 0.5 else 1.0
        return sign * super().objective(output, batch)


def test_ewc_and_replay_penalise_and_replay() -> None:
    tasks = make_tasks()
    method = Combined([partial(ExperienceReplay, 8, 3), partial(EWC, 5.0)], generator=seeded())
    learner, batch = learned(method, tasks), tasks[1].train
    replay, ewc = method.methods
    state = method.generator.get_state()
    loss = method.loss(learner, batch)
    method.generator.set_state(state)
    both = joined(batch, replay.memory.sample(3))
    penalty = 5.0 * ewc.anchor.value(dict(learner.named_parameters()))
    assert penalty > 1e-4
    torch.testing.assert_close(loss, learner.loss(both) + penalty)
    assert len(both[0]) == 16 + 3


def test_agem_corrects_the_gradient_of_loss_and_distillation() -> None:
    tasks = make_tasks()
    method = Combined([partial(LwF, 0.7), partial(AGEM, 8, 1)], generator=seeded())
    learner, batch = learned(method, tasks, Opposed), tasks[1].train
    lwf, agem = method.methods
    parameters = list(learner.parameters())
    memory = agem.memory.all()
    distilled = (learner.output(batch) - lwf.teacher.output(batch)).square().mean()
    loss = learner.loss(batch) + 0.7 * distilled
    torch.testing.assert_close(method.loss(learner, batch), loss)

    expected = [g.clone() for g in torch.autograd.grad(loss, parameters)]
    reference = torch.autograd.grad(learner.loss(memory), parameters)
    plain = flat(expected)
    project(expected, reference)
    method.loss(learner, batch).backward()
    method.correct_gradients(learner)
    corrected = [p.grad for p in parameters]
    torch.testing.assert_close(corrected, expected)
    assert flat(reference) @ plain < 0  # so there was something to correct


def test_a_method_alone_is_itself() -> None:
    tasks = make_tasks(3)
    for make in (partial(ExperienceReplay, 8, 3), partial(EWC, 5.0), partial(AGEM, 9, 3), Joint):
        weights = []
        for method in (make(generator=seeded()), Combined([make], generator=seeded())):
            learner = MLP(4, (6,), 2, generator=seeded(1)).double()
            optimizer = torch.optim.SGD(learner.parameters(), lr=0.05)
            options = {"epochs": 2, "batch_size": 4, "generator": seeded(2)}
            list(train(learner, method, tasks, optimizer, **options))
            weights.append(flat(learner.parameters()))
            assert method.sequential == (make is not Joint)
        assert torch.equal(*weights)


def test_weak_parts_change_nothing_and_each_hook_is_run() -> None:
    """Naive beside SI: the path integral, which needs three hooks, is that of SI alone."""
    tasks, anchors = make_tasks(2), []
    makers = [partial(SynapticIntelligence, 1.0)]
    for parts in (makers, [Naive, *makers]):
        method = Combined(parts, generator=seeded())
        learned(method, [*tasks, tasks[-1]])
        anchors.append(method.methods[-1].anchor.precision)
    assert anchors[0].keys() == anchors[1].keys()
    assert all(torch.equal(anchors[0][n], anchors[1][n]) for n in anchors[0])
    assert any((value > 0).any() for value in anchors[0].values())


@pytest.mark.parametrize("order", [1, -1])
def test_the_path_of_si_is_that_of_the_weights_whoever_moves_them(order: int) -> None:
    # GPM changes a step after it is taken. The integral over all parameters is the same whether
    # SI saw the gradient before or after its projection: the step lies in what is projected on.
    tasks, moves = make_tasks(3), []

    class Watching(SynapticIntelligence):
        def end_task(self, learner, task) -> None:
            self._follow(learner)
            moves.append(sum(path.sum().item() for path in self._path))
            super().end_task(learner, task)

    for turn in (order, -order):
        parts = [Watching, GPM][::turn]
        makers = [partial(p, 1.0) if p is Watching else partial(p, 0.9) for p in parts]
        learned(Combined(makers, generator=seeded()), tasks)
    assert len(moves) == 4
    assert moves[:2] == pytest.approx(moves[2:], rel=1e-9)
    assert moves[1] != 0


def test_errors() -> None:
    with pytest.raises(ValueError, match="methods is empty"):
        Combined([], generator=seeded())
    with pytest.raises(ValueError, match="Joint and Cumulative each decide what to train on"):
        Combined([Joint, Cumulative], generator=seeded())
