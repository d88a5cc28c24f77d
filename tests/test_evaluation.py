"""Matrices of error and drift on learners whose reconstructions are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from insituml.data.task import Task
from insituml.evaluation import (
    draw_samples,
    held_out_errors,
    latent_drift_matrix,
    loss_matrix,
    reconstruct,
)
from insituml.learner import ContinualLearner


class Shift(ContinualLearner):
    """Encodes to ``scale · x``, decodes to ``x + offset``; batch normalisation for its mode."""

    def __init__(self, offset: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offset))
        self.scale = scale
        self.seen: list[tuple[bool, bool, int]] = []

    def encode(self, x):
        self.seen.append((self.training, torch.is_grad_enabled(), len(x)))
        return self.scale * x

    def decode(self, latent):
        return latent / self.scale + self.offset


def make_task(index: int, *values: float) -> Task:
    test = torch.tensor(values, dtype=torch.float32).view(-1, 1)
    never = torch.full((3, 1), float("nan"))  # training data must not enter an evaluation
    return Task(index, f"task {index}", (never,), (test,))


def test_errors_of_each_sample_by_hand() -> None:
    class Zero(ContinualLearner):
        def forward(self, x):
            return x, torch.zeros_like(x), None

    x = torch.tensor([[[1.0, -2.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, -4.0]]])
    errors = Zero().errors((x,))
    assert errors["mse"].tolist() == [14 / 4, 4.0]
    assert errors["l1"].tolist() == [6 / 4, 1.0]
    assert errors["linf"].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_held_out_error_is_the_mean_over_samples_whatever_the_batches(batch_size: int) -> None:
    class Zero(ContinualLearner):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return x, torch.zeros_like(x), None

    result = held_out_errors(Zero(), make_task(0, 1, 2, 3, 4, -5), batch_size=batch_size)
    assert result == {"mse": 11.0, "l1": 3.0, "linf": 3.0}


def test_loss_matrix_has_a_row_per_learner_and_a_column_per_task() -> None:
    # Learner k misses by k + 1; a custom error tells the task apart.
    learners = [Shift(float(k + 1)) for k in range(2)]
    tasks = [make_task(j, 10.0 * j, 10.0 * j) for j in range(3)]
    matrix = loss_matrix(learners, tasks)
    assert set(matrix) == {"mse", "l1", "linf"}
    assert matrix["l1"].dtype == np.float64
    np.testing.assert_allclose(matrix["l1"], [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_allclose(matrix["mse"], [[1, 1, 1], [4, 4, 4]])

    def own(learner, batch):
        return {"sum": learner.offset + batch[0][:, 0]}

    custom = loss_matrix(learners, tasks, errors=own)
    np.testing.assert_allclose(custom["sum"], [[1, 11, 21], [2, 12, 22]])


def test_latent_drift_by_hand() -> None:
    # z_k = (k + 1) x, so z_k − z_j = (k − j) x, over (j + 1) times the spread of x.
    learners = [Shift(scale=k + 1.0) for k in range(3)]
    tasks = [make_task(j, *(j + np.array([1.0, 2.0, 6.0]))) for j in range(3)]
    drift = latent_drift_matrix(learners, tasks, batch_size=2)
    assert drift.shape == (3, 3)
    for k in range(3):
        for j in range(3):
            x = j + np.array([1.0, 2.0, 6.0])
            expected = (k - j) * np.sqrt((x**2).mean()) / ((j + 1) * x.std())
            if k < j:
                assert np.isnan(drift[k, j])
            elif k == j:
                assert drift[k, j] == 0.0
            else:
                assert drift[k, j] == pytest.approx(expected)


def test_reconstruct_goes_batch_by_batch() -> None:
    learner = Shift(0.5)
    x = torch.arange(5.0).view(5, 1)
    result = reconstruct(learner, x, batch_size=2)
    assert torch.equal(result, x + 0.5)
    assert not result.requires_grad
    assert [count for _, _, count in learner.seen] == [2, 2, 1]


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_mode_and_gradients_alone(training: bool) -> None:
    learner = Shift(1.0).train(training)
    learner.frozen = nn.BatchNorm1d(1).train(not training)
    learner.offset.grad = torch.tensor(7.0)
    tasks = [make_task(0, 1.0, 2.0)]
    loss_matrix([learner], tasks)
    latent_drift_matrix([learner], tasks)
    reconstruct(learner, tasks[0].test[0])
    assert learner.training is training
    assert learner.frozen.training is not training
    assert learner.offset.grad.item() == 7.0
    assert {seen[:2] for seen in learner.seen} == {(False, False)}
    assert torch.is_grad_enabled()


def test_mode_is_restored_after_an_error() -> None:
    learner = Shift().train()
    with pytest.raises(ZeroDivisionError):
        held_out_errors(learner, make_task(0, 1.0), errors=lambda learner, batch: 1 / 0)
    assert learner.training
    assert torch.is_grad_enabled()


class Judged(Shift):
    """Says itself what it is judged by, what its latents are, and draws samples."""

    def errors(self, batch):
        assert not self.training
        return {"own": batch[1], "other": self.offset + batch[0][:, 0]}

    def latents(self, batch):
        return (self.scale * batch[1])[:, None]

    def sample(self, conditions, *, generator):
        assert not self.training
        assert not torch.is_grad_enabled()
        return conditions[0] + torch.rand(len(conditions[0]), generator=generator)


def judged_task(index: int, *values: float) -> Task:
    column = torch.tensor(values)
    return Task(index, "task", (column[:, None],) * 2, (column[:, None], 10 * column))


def test_a_learner_says_what_it_is_judged_by() -> None:
    tasks = [judged_task(0, 1.0, 2.0), judged_task(1, 3.0, 5.0)]
    matrices = loss_matrix([Judged(offset=1.0), Judged(offset=2.0)], tasks)
    assert list(matrices) == ["own", "other"]  # the main one first
    np.testing.assert_allclose(matrices["own"], [[15, 40], [15, 40]])
    np.testing.assert_allclose(matrices["other"], [[2.5, 5], [3.5, 6]])


def test_drift_is_that_of_the_latents_a_learner_names() -> None:
    drift = latent_drift_matrix(
        [Judged(), Judged(scale=3.0)], [judged_task(0, 1.0, 3.0), judged_task(1, 0.0, 1.0)]
    )
    # z moves from 10 x to 30 x: by the root mean square of 20 x, over the spread of 10 x.
    assert drift[1, 0] == pytest.approx(20 * np.sqrt(5) / 10)


def test_samples_are_drawn_batch_by_batch_from_one_generator() -> None:
    learner = Judged().train()
    conditions = torch.arange(5.0)
    drawn = draw_samples(
        learner, (conditions,), generator=torch.Generator().manual_seed(1), batch_size=2
    )
    expected = conditions + torch.rand(5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(drawn, expected)
    assert learner.training
