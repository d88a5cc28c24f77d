"""The reference gradient against one backward pass over all samples."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from insituml.gradients import reference_gradient
from insituml.models import MLP


def samples(count: int = 13):
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("split", [1, 5, 12, 13, 100])
def test_equals_the_gradient_of_the_mean_over_all_samples(split: int) -> None:
    learner, x = MLP(4, (5,), 2).double(), samples()
    parameters = list(learner.parameters())
    expected = learner.loss((x,))
    expected.backward()
    expected_gradients = [p.grad for p in parameters]
    loss, gradients = reference_gradient(
        learner.loss, parameters, ((part,) for part in x.split(split))
    )
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    assert not loss.requires_grad
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-10, atol=1e-15)


def test_leaves_gradients_alone() -> None:
    learner = MLP(4, (5,), 2).double()
    parameters = list(learner.parameters())
    parameters[0].grad = torch.full_like(parameters[0], 7.0)
    reference_gradient(learner.loss, parameters, [(samples(),)])
    assert (parameters[0].grad == 7).all()
    assert all(p.grad is None for p in parameters[1:])


def test_parameters_the_loss_does_not_use_have_zero_gradient() -> None:
    used, unused = nn.Linear(4, 1).double(), nn.Linear(2, 2).double()
    _, gradients = reference_gradient(
        lambda batch: used(batch[0]).mean(),
        [unused.weight, used.weight],
        [(samples(),)],
    )
    assert torch.equal(gradients[0], torch.zeros(2, 2, dtype=torch.float64))
    torch.testing.assert_close(gradients[1][0], samples().mean(dim=0))


def test_nothing_to_refer_to() -> None:
    with pytest.raises(ValueError, match="reference data are empty"):
        reference_gradient(lambda batch: batch[0].sum(), [torch.zeros(1)], [])
