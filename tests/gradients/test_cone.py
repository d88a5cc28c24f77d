"""GEM's projection: all constraints hold, at minimal distance; the dual against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize, nnls
from torch import Tensor

from insituml.gradients import project, project_onto_cone
from insituml.gradients.cone import nearest_in_dual_cone

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


def references(kind: str, rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    count, dimensions = int(rng.integers(2, 9)), int(rng.integers(1, 15))
    past, new = rng.normal(size=(count, dimensions)), rng.normal(size=dimensions)
    noise = size * rng.normal(size=(count, dimensions))
    if kind == "opposite":
        past[1] = -past[0] + noise[1]
    elif kind == "parallel":
        past = past[0] + noise
    elif kind == "lines":
        past = rng.choice([-1.0, 1.0], size=(count, 1)) * past[0] + noise
    elif kind == "zero":
        past[0] = 0
    elif kind == "against":
        new = -3 * past[0] + noise[0]
    return past, new


@pytest.mark.parametrize("kind", ["any", "opposite", "parallel", "lines", "zero", "against"])
@pytest.mark.parametrize("scale", [1.0, 1e-120, 1e120])
def test_the_projection_is_that_onto_a_cone(kind: str, scale: float) -> None:
    rng = np.random.default_rng(0)
    for exponent in range(-15, 0):
        past, new = references(kind, rng, 10.0**exponent)
        gradient = [torch.from_numpy(new * scale)]
        project_onto_cone(gradient, [[torch.from_numpy(r)] for r in past * rng.uniform(0.1, 10)])
        found = gradient[0].numpy() / scale
        # Moreau: feasible, at right angles to what was taken away, and so never longer.
        size = np.linalg.norm(new)
        directions = past / np.maximum(np.linalg.norm(past, axis=1, keepdims=True), 1e-300)
        assert (directions @ found).min() >= -1e-12 * size
        assert abs(found @ (new - found)) <= 1e-12 * size**2
        assert np.linalg.norm(found) <= (1 + 1e-12) * size
        # What was taken away is a combination of references with weights above 0. (Weights of
        # nearly opposite ones are large, and the rounding with them.)
        rest = nnls(directions.T, found - new, maxiter=10_000)[1]
        assert rest <= 1e-14 * 10.0**-exponent * size


@pytest.mark.parametrize("kind", ["any", "opposite", "parallel", "lines", "zero"])
def test_a_margin_projects_what_leans_towards_the_past(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        past, new = references(kind, rng, 1e-2)
        if (past @ new >= 0).all():
            continue
        gradient = [torch.from_numpy(new)]
        expected = new + 0.5 * past.sum(axis=0)
        expected = expected + past.T @ nnls(past.T, -expected, maxiter=10_000)[0]
        project_onto_cone(gradient, [[torch.from_numpy(r)] for r in past], margin=0.5)
        np.testing.assert_allclose(gradient[0].numpy(), expected, atol=1e-9)


def test_the_solver_is_no_longer_than_its_vector() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 3, 8):
        past, new = rng.normal(size=(5, size)), rng.normal(size=5)
        found = nearest_in_dual_cone(past / np.linalg.norm(past, axis=0), new)
        assert np.linalg.norm(found) <= np.linalg.norm(new)
        assert (past.T @ found >= -1e-12).all()


def test_a_short_reference_is_a_constraint_like_any_other() -> None:
    long, short = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1e-4])
    gradients = [torch.tensor([1.0, -1.0])]
    project_onto_cone(gradients, [[long], [short]])
    torch.testing.assert_close(gradients[0], torch.tensor([1.0, 0.0]))


def test_what_is_not_finite_is_left_to_the_trainer() -> None:
    gradients = [torch.tensor([float("inf"), -1.0])]
    project_onto_cone(gradients, [[torch.tensor([-1.0, 0.0])]])
    assert gradients[0].tolist() == [float("inf"), -1.0]
