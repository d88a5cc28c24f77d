"""GEM's projection: all constraints hold, at minimal distance; the dual against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from insituml.gradients import project, project_onto_cone
from insituml.gradients.cone import nonnegative_minimum

SHAPES = [(4, 3), (5,), (2, 2, 2)]


def draw(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def vector(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


@pytest.mark.parametrize("count", [1, 2, 5, 12])
@pytest.mark.parametrize("seed", range(4))
def test_constraints_hold_at_minimal_distance(count: int, seed: int) -> None:
    references = [draw(100 * seed + k + 50) for k in range(count)]
    gradients = [g - r for g, r in zip(draw(seed), references[0], strict=True)]
    before = vector(gradients)
    past = torch.stack([vector(r) for r in references])
    assert (past @ before < 0).any()
    project_onto_cone(gradients, references)
    after = vector(gradients)
    assert (past @ after >= -1e-9).all()
    # An independent solver of the primal problem, over all coordinates of z.
    primal = minimize(
        lambda z: 0.5 * ((z - before.numpy()) ** 2).sum(),
        before.numpy(),
        jac=lambda z: z - before.numpy(),
        constraints=LinearConstraint(past.numpy(), lb=0.0),
        method="SLSQP",
        options={"ftol": 1e-10, "maxiter": 500},
    )
    np.testing.assert_allclose(after.numpy(), primal.x, atol=1e-4)
    assert 0.5 * (after - before).square().sum().item() <= primal.fun + 1e-9


def test_one_reference_is_the_projection_of_agem() -> None:
    gradients, reference = draw(1), [-part for part in draw(1)]
    reference[0] += 1.0
    expected = [g.clone() for g in gradients]
    project(expected, reference)
    project_onto_cone(gradients, [reference])
    torch.testing.assert_close(gradients, expected)


def test_agreement_changes_no_bit() -> None:
    gradients = draw(3)
    before = [g.clone() for g in gradients]
    project_onto_cone(gradients, [[2.0 * g for g in before], before])
    assert all(torch.equal(a, b) for a, b in zip(gradients, before, strict=True))


def test_references_that_depend_on_each_other() -> None:
    # Twice the same, a sum of two, and one without length: the Gram matrix is singular.
    gradients, first, second = draw(5), [-g for g in draw(5)], draw(6)
    summed = [a + b for a, b in zip(first, second, strict=True)]
    nothing = [torch.zeros_like(g) for g in gradients]
    references = [first, first, second, summed, nothing]
    before = vector(gradients)
    project_onto_cone(gradients, references)
    after, past = vector(gradients), torch.stack([vector(r) for r in references])
    assert (past @ after >= -1e-9).all()
    alone = draw(5)
    project_onto_cone(alone, [first, second])
    torch.testing.assert_close(after, vector(alone))
    assert (after - before).norm() > 0.1


def test_margin_bounds_the_dual_from_below() -> None:
    references = [draw(7), draw(8)]
    gradients = [-g for g in references[0]]
    before, past = vector(gradients), torch.stack([vector(r) for r in references])
    project_onto_cone(gradients, references, margin=0.5)
    weights = torch.linalg.lstsq(past.T, (vector(gradients) - before)[:, None]).solution[:, 0]
    assert (weights >= 0.5 - 1e-9).all()
    # The objective of the dual, by an independent solver.
    gram, slopes = (past @ past.T).numpy(), (past @ before).numpy()
    dual = minimize(
        lambda v: 0.5 * v @ gram @ v + slopes @ v, [1.0, 1.0], bounds=[(0.5, None)] * 2, tol=1e-14
    )
    np.testing.assert_allclose(weights.numpy(), dual.x, atol=1e-5)


def test_optimality_of_the_dual() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 3, 8):
        factor = rng.normal(size=(size, 20))
        gram, slopes = factor @ factor.T, factor @ rng.normal(size=20)
        v = nonnegative_minimum(gram, slopes)
        gradient = gram @ v + slopes
        assert (v >= 0).all()
        assert (gradient >= -1e-8).all()
        assert abs(v @ gradient) < 1e-8


def test_a_short_reference_is_a_constraint_like_any_other() -> None:
    long, short = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1e-4])
    gradients = [torch.tensor([1.0, -1.0])]
    project_onto_cone(gradients, [[long], [short]])
    torch.testing.assert_close(gradients[0], torch.tensor([1.0, 0.0]))


def test_what_is_not_finite_is_left_to_the_trainer() -> None:
    gradients = [torch.tensor([float("inf"), -1.0])]
    project_onto_cone(gradients, [[torch.tensor([-1.0, 0.0])]])
    assert gradients[0].tolist() == [float("inf"), -1.0]
