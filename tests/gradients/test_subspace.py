"""Orthonormal bases of layer inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from insituml.gradients import condensed, extended_basis


def numbers(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def columns_of(singular: list[float], rows: int = 6, count: int = 9) -> Tensor:
    """A matrix with the given singular values."""
    left = torch.linalg.qr(numbers(rows, rows)).Q[:, : len(singular)]
    right = torch.linalg.qr(numbers(count, count, seed=4)).Q[:, : len(singular)]
    return left @ torch.diag(torch.tensor(singular).double()) @ right.T


def empty(rows: int = 6) -> Tensor:
    return torch.zeros(rows, 0).double()


def share(basis: Tensor, columns: Tensor) -> float:
    return float((basis @ (basis.T @ columns)).square().sum() / columns.square().sum())


@pytest.mark.parametrize(
    "threshold, size", [(0.5, 1), (0.75, 1), (0.78, 2), (0.95, 2), (0.96, 3), (0.999, 4), (1.0, 4)]
)
def test_the_fewest_directions_with_the_share_of_the_energy(threshold: float, size: int) -> None:
    x = columns_of([4.0, 2.0, 1.0, 0.2])  # energies 16, 4, 1, 0.04 of 21.04
    basis = extended_basis(empty(), x, threshold, 6)
    assert basis.shape == (6, size)
    assert share(basis, x) >= threshold - 1e-12
    assert size == 1 or share(basis[:, :-1], x) < threshold
    torch.testing.assert_close(basis.T @ basis, torch.eye(size).double())


def test_what_the_basis_spans_already_counts() -> None:
    old = extended_basis(empty(), columns_of([4.0, 2.0]), 1.0, 6)
    within = old @ numbers(2, 9)
    assert torch.equal(extended_basis(old, within, 1.0, 6), old)
    new = numbers(6, 1, seed=9)
    x = torch.cat([10 * within, 0.01 * new], dim=1)
    assert torch.equal(extended_basis(old, x, 0.95, 6), old)  # a small new direction does not
    grown = extended_basis(old, torch.cat([within, 10 * new], dim=1), 0.95, 6)
    assert grown.shape == (6, 3)
    assert torch.equal(grown[:, :2], old)
    torch.testing.assert_close(grown.T @ grown, torch.eye(3).double())
    assert share(grown, new) == pytest.approx(1.0)


def test_the_limit_keeps_room() -> None:
    x = numbers(6, 50)
    assert extended_basis(empty(), x, 1.0, 6).shape == (6, 6)
    basis = extended_basis(empty(), x, 1.0, 4)
    assert basis.shape == (6, 4)
    assert torch.equal(extended_basis(basis, x, 1.0, 2), basis)


def test_inputs_of_zero_add_nothing() -> None:
    assert extended_basis(empty(), torch.zeros(6, 4), 0.95, 6).shape == (6, 0)


@pytest.mark.parametrize("sizes", [[2], [3, 2], [40], [5, 9, 30, 1]])
def test_condensing_keeps_the_energy_of_every_direction(sizes: list[int]) -> None:
    parts = [numbers(6, size, seed=size) for size in sizes]
    x = torch.cat(parts, dim=1)
    small = condensed(iter(parts))
    assert small.shape == (6, min(6, sum(sizes)))
    torch.testing.assert_close(small @ small.T, x @ x.T)


def test_nothing_to_condense_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to condense"):
        condensed([])
