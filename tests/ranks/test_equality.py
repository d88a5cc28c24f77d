"""Several ranks learn what one does from the joint batch, with every method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ranks.group import together
from tests.ranks.learning import FILES, IN_PARTS, NAMES, learn, learn_all

ALIKE = 1e-6
"""Largest difference, as a share of the largest number of a tensor."""


ON_THREE = [*FILES, "parts", "changed samples"]
ON_THREE += [
    f"{IN_PARTS}{name}" for name in ("naive", "experience_replay", "der_plus_plus", "parts")
]
CASES = [(2, name) for name in NAMES] + [(3, name) for name in ON_THREE]


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> Callable[[int], Path]:
    """Let so many processes learn everything, once; return where their results lie."""
    folders: dict[int, Path] = {}

    def on(count: int) -> Path:
        if count not in folders:
            folders[count] = tmp_path_factory.mktemp(f"ranks{count}")
            names = NAMES if count == 2 else ON_THREE
            together(count, folders[count], learn_all, folders[count], names)
        return folders[count]

    return on


@pytest.fixture(scope="module")
def alone() -> Any:
    known: dict[str, Any] = {}

    def learned(name: str) -> Any:
        if name not in known:
            known[name] = learn(name)
        return known[name]

    return learned


@pytest.mark.parametrize("count, name", CASES)
def test_ranks_learn_as_one_does(count: int, name: str, learned: Any, alone: Any) -> None:
    results = learned(count)
    files = sorted(results.glob(f"{name} of ?"))
    assert len(files) == count
    expected = alone(name)
    by_rank = [torch.load(file, weights_only=False) for file in files]
    for rank, found in enumerate(by_rank):
        for part in ("counts", "losses", "weights"):
            compare(found[part], expected[part], f"{part} of rank {rank}")
        for key, value in by_rank[0]["weights"].items():
            assert torch.equal(found["weights"][key], value), f"{key} of rank {rank}"
    # The first rank's state is that of all, which a checkpoint holds.
    compare(by_rank[0]["method"], expected["method"], "method")
    # Those of all ranks; some of it each does by itself.
    assert expected["flops"] * 0.9 <= by_rank[0]["flops"] <= expected["flops"] * (0.5 + count / 2)


def compare(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            compare(found[key], value, f"{where}: {key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for k, (left, right) in enumerate(zip(found, expected, strict=True)):
            compare(left, right, f"{where}: {k}")
    elif isinstance(expected, Tensor) and expected.is_floating_point():
        assert found.shape == expected.shape, where
        if expected.numel():
            largest = expected.abs().max().clamp(min=1e-300)
            assert float((found - expected).abs().max() / largest) < ALIKE, where
    elif isinstance(expected, Tensor):
        assert torch.equal(found, expected), where
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=ALIKE), where
    else:
        assert found == expected, where
