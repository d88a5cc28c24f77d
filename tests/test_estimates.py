"""In one process estimates are what their names say; tests/ranks has them from several."""

from __future__ import annotations

import pytest
import torch

from insituml.estimates import (
    all_columns,
    draw,
    largest,
    mean_over,
    number_of,
    numbers_of,
    sums_over,
    union,
)

X = torch.tensor([[3.0, -1.0], [0.5, 2.0], [-4.0, 1.0]], dtype=torch.float64)
SAMPLES = (X, torch.tensor([7, 8, 9]))


def test_samples_are_counted_and_numbered() -> None:
    assert number_of(SAMPLES) == 3
    assert numbers_of(SAMPLES).tolist() == [0, 1, 2]


def test_means_and_sums_are_those_of_the_function_with_its_graph() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    mean = mean_over(SAMPLES, lambda samples: (weight * samples[0]).sum(dim=1).mean())
    assert mean.item() == pytest.approx(2 * (2.0 + 2.5 - 3.0) / 3)
    (slope,) = torch.autograd.grad(mean, weight)
    assert float(slope) == pytest.approx((2.0 + 2.5 - 3.0) / 3)
    squares, plain = sums_over(SAMPLES, lambda s: [weight * s[0].square().sum(), s[1].sum()], 2)
    assert squares.item() == 2 * (9 + 1 + 0.25 + 4 + 16 + 1)
    assert int(plain) == 24
    (slope,) = torch.autograd.grad(squares, weight)
    assert float(slope) == 9 + 1 + 0.25 + 4 + 16 + 1


def test_draws_are_of_different_samples_whose_columns_stay_together() -> None:
    x, y = draw(SAMPLES, 2, generator=torch.Generator().manual_seed(0))
    places = [SAMPLES[1].tolist().index(value) for value in y.tolist()]
    assert len(set(places)) == 2
    assert torch.equal(x, X[places])
    assert draw(SAMPLES, None, generator=torch.Generator()) is SAMPLES


@pytest.mark.parametrize("count, places", [(1, [2]), (2, [2, 0]), (5, [2, 0, 1])])
def test_the_largest_come_first(count: int, places: list[int]) -> None:
    assert largest(torch.tensor([0.5, -1.0, 3.0]), count).tolist() == places


def test_what_is_found_is_what_there_is() -> None:
    assert union({"a", "b"}) == {"a", "b"}
    assert union(set()) == set()
    found = {"layer": X.mT}
    assert all_columns(found, X.device)["layer"] is found["layer"]
