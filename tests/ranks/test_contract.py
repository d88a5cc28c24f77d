"""Ranks begin alike, are told when they no longer are, and refuse what would part them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.ranks.contract import (
    counted_by_all,
    estimated,
    from_other_weights,
    from_other_weights_in_transit,
    leave,
)
from tests.ranks.group import together


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("contract")
    together(2, folder, leave, folder)
    return [torch.load(folder / str(rank), weights_only=False) for rank in range(2)]


@pytest.mark.parametrize(
    "name, one",
    [
        ("from other weights", from_other_weights),
        ("in transit", from_other_weights_in_transit),
    ],
)
def test_ranks_take_over_what_the_first_one_begins_with(two, name, one) -> None:
    first, second = (found[name] for found in two)
    expected = one()
    for key, value in expected.items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "name, words",
    [
        ("drifting", "ranks hold different weights after task 0 (task 0)"),
        ("counting", "size of a draw from the memory is"),
        ("other arguments", "rank 1 has another batch_size than rank 0 (8, not 7)"),
        ("other model", "rank 1 has another model than rank 0"),
        ("batch normalisation", "MLP has batch normalisation (norm)"),
    ],
)
def test_what_parts_ranks_is_said_on_all_of_them(two, name, words) -> None:
    for found in two:
        assert words in found[name]


@pytest.mark.parametrize("count", [7, 1])
def test_estimates_are_those_from_the_samples_of_all(two, count: int) -> None:
    expected = estimated(count)
    for found in two:
        for name, value in found[f"estimates from {count}"].items():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12, msg=name)


def test_what_all_ranks_do_alike_counts_once(two) -> None:
    pca, resumed = counted_by_all()
    for found in two:
        assert found["flops"] == [pca, 2 * resumed]  # 10 on each before the checkpoint
