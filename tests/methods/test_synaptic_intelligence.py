"""The path integral has a closed form on a quadratic loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from insituml.data.task import Task
from insituml.learner import ContinualLearner
from insituml.methods import SynapticIntelligence
from insituml.training import train

CURVATURE = torch.tensor([2.0, 0.5, 1.0, 0.0], dtype=torch.float64)
CENTRE = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)


class Quadratic(ContinualLearner):
    """L = ½ Σ a (θ − c)², whatever the batch; its centre moves with the batch's value."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.0, 0.0, 2.0, 1.0], dtype=torch.float64))

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        return 0.5 * (CURVATURE * (self.weight - CENTRE - batch[0].mean()).square()).sum()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learn(
    learner: Quadratic, method: SynapticIntelligence, shifts, *, rate=0.1, epochs=7, **options
) -> list[Tensor]:
    """Train on tasks that shift the centre; return the weights before and after each."""
    tasks = []
    for k, shift in enumerate(shifts):
        x = torch.full((1, 1), shift, dtype=torch.float64)
        tasks.append(Task(k, "", (x,), (x,)))
    optimizer = torch.optim.SGD(learner.parameters(), lr=rate)
    weights = [learner.weight.detach().clone()]
    for _ in train(
        learner,
        method,
        tasks,
        optimizer,
        epochs=epochs,
        batch_size=1,
        generator=seeded(),
        **options,
    ):
        weights.append(learner.weight.detach().clone())
    return weights


@pytest.mark.parametrize("norm", [None, 0.05])
def test_path_integral_on_a_quadratic_by_its_closed_form(norm: float | None) -> None:
    learner, method, rate, steps, damping = Quadratic(), None, 0.1, 7, 0.3
    method = SynapticIntelligence(1.0, damping, generator=seeded())
    start, end = learn(learner, method, [0.0], max_gradient_norm=norm)
    if norm is None:
        # θ_t − c = (1 − ηa)^t (θ_0 − c), so Σ η g_t² is a geometric sum.
        first = CURVATURE * (start - CENTRE)
        ratio = (1 - rate * CURVATURE) ** 2
        total = torch.where(ratio < 1, (1 - ratio**steps) / (1 - ratio), torch.tensor(steps * 1.0))
        path = rate * first**2 * total
    else:
        # The same path step by step: the unclipped gradient times the clipped step.
        theta, path = start.clone(), torch.zeros_like(start)
        for _ in range(steps):
            g = CURVATURE * (theta - CENTRE)
            step = -rate * g * min(1.0, norm / g.norm().item())
            path -= g * step
            theta += step
    expected = path / ((end - start) ** 2 + damping)
    torch.testing.assert_close(method.anchor.precision["weight"], expected, rtol=1e-5, atol=1e-12)


def test_the_integral_tends_to_the_fall_of_the_loss_by_each_parameter() -> None:
    learner = Quadratic()
    method = SynapticIntelligence(1.0, 0.3, generator=seeded())
    start, end = learn(learner, method, [0.0], rate=1e-3, epochs=2000)
    fall = 0.5 * CURVATURE * ((start - CENTRE) ** 2 - (end - CENTRE) ** 2)
    path = method.anchor.precision["weight"] * ((end - start) ** 2 + 0.3)
    torch.testing.assert_close(path, fall, rtol=2e-3, atol=1e-12)


def test_own_penalty_is_no_part_of_the_path_and_importances_add_up() -> None:
    strength, damping, rate, steps = 3.0, 0.3, 0.1, 5
    method = SynapticIntelligence(strength, damping, generator=seeded())
    learner = Quadratic()
    weights = learn(learner, method, [0.0, 1.5], rate=rate, epochs=steps)
    theta, importance, anchor = weights[0].clone(), torch.zeros(4, dtype=torch.float64), None
    for k, shift in enumerate([0.0, 1.5]):
        start, path = theta.clone(), torch.zeros_like(theta)
        for _ in range(steps):
            task = CURVATURE * (theta - CENTRE - shift)
            pull = strength * importance * (theta - anchor) if anchor is not None else 0.0
            step = -rate * (task + pull)
            path -= task * step
            theta = theta + step
        importance = importance + path.clamp(min=0) / ((theta - start) ** 2 + damping)
        anchor = theta.clone()
        torch.testing.assert_close(weights[k + 1], theta, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(method.anchor.precision["weight"], importance, rtol=1e-9, atol=0)


def test_a_parameter_that_raised_the_loss_has_no_importance() -> None:
    method, learner = SynapticIntelligence(1.0, generator=seeded()), Quadratic()
    task = Task(0, "", (torch.zeros(1, 1),), (torch.zeros(1, 1),))
    method.begin_task(learner, task)
    learner.weight.grad = torch.tensor([1.0, -1.0, 0.0, 1.0], dtype=torch.float64)
    method.correct_gradients(learner)
    with torch.no_grad():
        learner.weight += 0.1
    method.after_step(learner)
    method.end_task(learner, task)
    importance = method.anchor.precision["weight"]
    assert importance[1] == pytest.approx(0.1 / (0.01 + 0.1))
    assert importance[[0, 2, 3]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "options, message",
    [({"strength": -1.0}, "strength is -1.0"), ({"strength": 1.0, "damping": 0.0}, "damping is 0")],
)
def test_errors(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SynapticIntelligence(**options, generator=seeded())
