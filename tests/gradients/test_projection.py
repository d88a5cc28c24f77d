"""The projection is the closest gradient that does not conflict with the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from insituml.gradients import project, project_layerwise

SHAPES = [(4, 3), (5,), (2, 2, 2)]


def draw(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in SHAPES]


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def copies(tensors: list[Tensor]) -> list[Tensor]:
    return [t.clone() for t in tensors]


def conflicting(seed: int, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor]]:
    gradients, reference = draw(seed, dtype), draw(seed + 1000, dtype)
    if torch.dot(flat(gradients), flat(reference)) > 0:
        reference = [-r for r in reference]
    return gradients, reference


@pytest.mark.parametrize("seed", range(10))
def test_is_the_closest_vector_that_does_not_conflict(seed: int) -> None:
    gradients, reference = conflicting(seed)
    g, r = flat(gradients), flat(reference)
    project(gradients, reference)
    p = flat(gradients)
    assert torch.dot(p, r) >= -1e-12
    # The conditions of Karush, Kuhn and Tucker: p − g = μ r with μ ≥ 0, and p on the boundary.
    mu = torch.dot(p - g, r) / torch.dot(r, r)
    assert mu > 0
    torch.testing.assert_close(p - g, mu * r)
    assert torch.dot(p, r).abs() < 1e-12
    # No other vector that satisfies the constraint is closer.
    others = p + torch.randn(500, len(p), generator=torch.Generator().manual_seed(seed)).double()
    feasible = others[others @ r >= 0]
    assert len(feasible) > 100
    assert ((feasible - g).norm(dim=1) >= (p - g).norm()).all()


@pytest.mark.parametrize("seed", range(5))
def test_float32_does_not_conflict_beyond_rounding(seed: int) -> None:
    gradients, reference = conflicting(seed, torch.float32)
    project(gradients, reference)
    g, r = flat(gradients), flat(reference)
    assert torch.dot(g, r) >= -1e-6 * g.norm() * r.norm()


@pytest.mark.parametrize("function", [project, project_layerwise])
def test_agreement_changes_no_bit(function) -> None:
    gradients = draw(1, torch.float32)
    reference = [3.7 * g + 0.1 * g.sign() for g in gradients]
    before = copies(gradients)
    function(gradients, reference)
    for new, old in zip(gradients, before, strict=True):
        assert torch.equal(new, old)


@pytest.mark.parametrize("function", [project, project_layerwise])
def test_zero_reference_changes_no_bit(function) -> None:
    gradients = draw(1, torch.float32)
    before = copies(gradients)
    function(gradients, [torch.zeros_like(g) for g in gradients])
    for new, old in zip(gradients, before, strict=True):
        assert torch.equal(new, old)


def test_reference_is_read_only_and_gradients_change_in_place() -> None:
    gradients, reference = conflicting(3)
    kept, places = copies(reference), [g.data_ptr() for g in gradients]
    project(gradients, reference)
    assert all(torch.equal(a, b) for a, b in zip(reference, kept, strict=True))
    assert [g.data_ptr() for g in gradients] == places


def test_opposite_gradient_is_removed() -> None:
    gradients = [torch.tensor([1.0, -2.0]), torch.tensor([3.0])]
    project(gradients, [-2 * g for g in gradients])
    torch.testing.assert_close(flat(gradients), torch.zeros(3))


def test_layerwise_is_the_projection_of_each_tensor() -> None:
    gradients, reference = draw(1), draw(2)
    expected = copies(gradients)
    for g, r in zip(expected, reference, strict=True):
        project([g], [r])
    project_layerwise(gradients, reference)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


def test_layerwise_corrects_a_layer_though_the_whole_agrees() -> None:
    gradients = [torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])]
    reference = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, -1.0])]  # g·r = 2 − 1
    whole, layerwise = copies(gradients), copies(gradients)
    project(whole, reference)
    project_layerwise(layerwise, reference)
    assert flat(whole).tolist() == [2, 0, 0, 1]
    assert flat(layerwise).tolist() == [2, 0, 0, 0]


def test_layerwise_spares_a_layer_that_agrees() -> None:
    gradients = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])]
    reference = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, -1.0])]  # g·r = 1 − 2
    whole, layerwise = copies(gradients), copies(gradients)
    project(whole, reference)
    project_layerwise(layerwise, reference)
    assert flat(whole).tolist() == [1.5, 0, 0, 1.5]
    assert flat(layerwise).tolist() == [1, 0, 0, 0]
