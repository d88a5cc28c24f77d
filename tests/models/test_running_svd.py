"""A decomposition that is updated, against numpy's of all rows at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from insituml.models.running_svd import RunningSVD, aligned, empty, update


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of(count: int, dimension: int, decay: float = 0.2, seed: int = 0) -> Tensor:
    """Rows whose singular values fall by ``exp(-decay)`` from one to the next."""
    generator = seeded(seed)
    size = min(count, dimension)
    left = torch.linalg.qr(torch.randn(count, size, generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(dimension, size, generator=generator).double())[0]
    strengths = 30 * torch.exp(-decay * torch.arange(size, dtype=torch.float64))
    return ((left * strengths) @ right.T).float()


def in_blocks(state: RunningSVD, rows: Tensor, size: int) -> RunningSVD:
    for block in rows.split(size):
        state = update(state, block)
    return state


def of_all(rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    _, strengths, right = np.linalg.svd(rows.double().numpy(), full_matrices=False)
    return strengths, right


def lost(rows: Tensor, basis: Tensor | np.ndarray) -> float:
    """Energy that is lost by projecting rows on a basis."""
    a, b = rows.double().numpy(), np.asarray(basis, dtype=np.float64)
    return float(np.square(a - a @ b.T @ b).sum())


@pytest.mark.parametrize(
    "count, dimension, block",
    [(20, 50, 1), (20, 50, 7), (60, 12, 5), (9, 200, 9), (40, 3, 40)],
)
def test_equal_to_rounding_where_the_rank_is_not_cut(
    count: int, dimension: int, block: int
) -> None:
    rows = rows_of(count, dimension)
    rank = min(count, dimension)
    state = in_blocks(empty(dimension, rank, 0), rows, block)
    strengths, right = of_all(rows)
    found = state.singular_values.numpy()
    np.testing.assert_allclose(found, strengths, rtol=0, atol=2e-6 * strengths[0])
    assert state.basis.dtype == torch.float32
    assert int(state.count) == count
    assert float(state.discarded) < 1e-10 * float(np.square(strengths).sum())
    # The same directions up to their sign, and AᵀA as a whole.
    cosines = np.abs((state.basis.double().numpy() * right).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, atol=2e-5)
    gram = (state.basis.double().T * state.singular_values.square()) @ state.basis.double()
    expected = rows.double().T @ rows.double()
    torch.testing.assert_close(gram, expected, rtol=0, atol=3e-6 * strengths[0] ** 2)


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("decay", [0.01, 0.1, 1.0])
def test_within_the_bound_where_the_rank_is_cut(decay: float, order: int) -> None:
    components, rows = 5, rows_of(80, 60, decay)
    if order:
        rows = rows[torch.randperm(len(rows), generator=seeded(order))]
    state = in_blocks(empty(60, components), rows, 6)
    strengths, right = of_all(rows)
    rounding, cut = 1e-5 * strengths[0] ** 2, float(state.discarded)
    below = np.square(strengths[:10]) - state.singular_values.square().numpy()
    assert (below >= -rounding).all()
    assert (below <= cut + rounding).all()
    rest = rows.double().T @ rows.double()
    rest -= (state.basis.double().T * state.singular_values.square()) @ state.basis.double()
    assert float(torch.linalg.eigvalsh(rest)[0]) >= -rounding
    assert float(rest.trace()) == pytest.approx(cut, abs=rounding)
    best = lost(rows, right[:components])
    assert best - rounding <= lost(rows, state.basis[:components]) <= best + cut + rounding


def test_oversampling_finds_what_is_weak_at_first() -> None:
    strong, weak = torch.eye(6)[:2], torch.eye(6)[2:3]
    rows = torch.cat([10 * strong, weak, 10 * strong, *([3 * weak] * 60)])
    with_more, without = (in_blocks(empty(6, 2, more), rows, 1) for more in (2, 0))
    assert lost(rows, with_more.basis[:2]) < 0.6 * lost(rows, without.basis[:2]) + 1e-9
    assert float(with_more.discarded) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("cut", [False, True])
def test_going_on_from_a_saved_state_gives_the_same_bits(cut: bool, tmp_path) -> None:
    rows = rows_of(40, 30, 0.05)
    start = empty(30, 4 if cut else 15)
    whole = in_blocks(start, rows, 4)
    half = in_blocks(start, rows[:20], 4)
    torch.save(vars(half), tmp_path / "half.pt")
    again = RunningSVD(**torch.load(tmp_path / "half.pt", weights_only=True))
    resumed = in_blocks(again, rows[20:], 4)
    assert all(map(torch.equal, vars(whole).values(), vars(resumed).values()))


def test_fewer_rows_than_components_leave_zeros() -> None:
    rows = rows_of(3, 40)
    state = update(empty(40, 8), rows)
    assert (state.singular_values > 0).tolist() == [True] * 3 + [False] * 13
    assert not state.basis[3:].any()
    assert lost(rows, state.basis) < 1e-8 * float(rows.square().sum())


def test_constant_and_repeated_rows_are_one_direction() -> None:
    row = torch.randn(1, 500, generator=seeded(3))
    state = in_blocks(empty(500, 4), row.expand(100, -1), 7)
    assert (state.singular_values > 0).sum() == 1
    assert float(state.singular_values[0]) == pytest.approx(10 * float(row.norm()), rel=1e-5)
    assert abs(float(state.basis[0] @ row[0]) / float(row.norm())) == pytest.approx(1, rel=1e-6)


def test_rows_of_zeros_change_nothing_but_the_count() -> None:
    state = update(empty(20, 3), torch.zeros(5, 20))
    assert not state.basis.any()
    assert not state.singular_values.any()
    some = update(state, rows_of(4, 20))
    more = update(some, torch.zeros(2, 20))
    torch.testing.assert_close(more.singular_values, some.singular_values)
    assert lost(rows_of(4, 20), more.basis) == pytest.approx(lost(rows_of(4, 20), some.basis))
    assert int(more.count) == 11


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_huge_and_tiny_numbers(scale: float) -> None:
    rows = rows_of(12, 30) * scale
    state = in_blocks(empty(30, 12, 0), rows, 5)
    strengths = of_all(rows)[0]
    np.testing.assert_allclose(
        state.singular_values / strengths[0], strengths / strengths[0], atol=1e-6
    )
    assert float((state.basis @ state.basis.T - torch.eye(12)).abs().max()) < 1e-5


def test_a_wide_range_keeps_weak_directions_until_rounding_hides_them() -> None:
    scales = 10.0 ** -torch.arange(0, 9, 2)
    rows = torch.eye(5, 9) * scales[:, None]
    state = in_blocks(empty(9, 5, 0), rows, 2)
    found = state.singular_values.numpy()
    np.testing.assert_allclose(found[:3], [1, 1e-2, 1e-4], rtol=1e-5)
    assert not found[3:].any()
    assert not state.basis[3:].any()


def test_the_basis_stays_orthonormal_over_thousands_of_updates() -> None:
    generator, state = seeded(1), empty(50, 4)
    spread = torch.exp(-0.05 * torch.arange(50))
    for _ in range(3000):
        state = update(state, torch.randn(4, 50, generator=generator) * spread)
    off = state.basis.double() @ state.basis.double().T - torch.eye(8, dtype=torch.float64)
    assert float(off.abs().max()) < 5e-6


def test_the_state_before_is_not_changed() -> None:
    state = update(empty(10, 2), rows_of(5, 10))
    before = {key: value.clone() for key, value in vars(state).items()}
    update(state, rows_of(5, 10, seed=1))
    assert all(torch.equal(before[key], value) for key, value in vars(state).items())


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 4\); expected \(n, 5\)"):
        update(empty(5, 2), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="NaN or infinity"):
        update(empty(5, 2), torch.full((1, 5), torch.nan))
    with pytest.raises(ValueError, match="components 0"):
        empty(5, 0)


def basis_of(seed: int, size: int = 3, dimension: int = 12) -> Tensor:
    return torch.linalg.qr(torch.randn(dimension, size, generator=seeded(seed)))[0].T


def rotation_of(seed: int, size: int = 3) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=seeded(seed)))[0]


def test_an_unchanged_span_keeps_every_coordinate() -> None:
    old = basis_of(0)
    torch.testing.assert_close(aligned(rotation_of(1) @ old, old), old)
    torch.testing.assert_close(aligned(old, old), old)


def test_turned_as_near_as_it_comes_within_its_span() -> None:
    new, old = basis_of(2), basis_of(3)
    turned = aligned(new, old)
    torch.testing.assert_close(turned.T @ turned, new.T @ new)
    turn = orthogonal_procrustes(new.T.double().numpy(), old.T.double().numpy())[0]
    np.testing.assert_allclose(turned, turn.T @ new.double().numpy(), atol=1e-6)
    nearest = (turned - old).norm()
    for seed in range(20):
        assert (rotation_of(seed) @ new - old).norm() >= nearest - 1e-6


def test_unknown_directions_do_not_leave_the_span() -> None:
    new, old = basis_of(4), basis_of(5)
    new[2] = 0
    old[1:] = 0
    turned = aligned(new, old)
    torch.testing.assert_close(turned.T @ turned, new.T @ new)


def test_alignment_compares_like_with_like() -> None:
    with pytest.raises(ValueError, match="expected one shape"):
        aligned(basis_of(0, 3), basis_of(0, 2))


@pytest.mark.parametrize("mix", [1, 10, 100])
def test_rows_that_are_all_but_alike_leave_the_basis_orthonormal(mix: int) -> None:
    """As a simulation's first iterations are: what most rows add is hardly more than rounding."""
    generator = seeded(0)
    new = torch.randn(6, 3000, generator=generator)
    parts = []
    for block in range(6):
        row = new[block] + mix * new[:block].sum(dim=0)
        alike = row * (1 + torch.rand(8, 1, generator=generator))
        parts.append(alike + 1e-4 * mix * torch.randn(8, 3000, generator=generator))
    left, right = (torch.randn(*s, generator=generator) for s in ((80, 25), (25, 3000)))
    rows = torch.cat([*parts, 100 * left @ right])
    state = in_blocks(empty(3000, 31, 8), rows, 8)
    used = (state.singular_values > 0).double()
    products = state.basis.double() @ state.basis.double().T
    torch.testing.assert_close(products, torch.diag(used), rtol=0, atol=1e-5)
    np.testing.assert_allclose(state.singular_values[:20], of_all(rows)[0][:20], rtol=1e-4)
