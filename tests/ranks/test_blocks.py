"""Ranks that read a block each learn what one process does that reads all."""

from __future__ import annotations

import math
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import openpmd_api as io
import pytest
import torch

from insituml.data import NpyFolder
from insituml.data.openpmd import write_series
from insituml.stream import Gap, ProducerDied, Rejected
from tests.pipelines.conftest import FIELD_SHAPE, write_fields
from tests.ranks.block_sources import produce
from tests.ranks.blocks import KEPT, NOW, read_all, read_alone
from tests.ranks.group import together
from tests.ranks.test_equality import compare

ITERATIONS = 9
KINDS = {3: ["npy"], 2: ["bp", "faulty", "whole"]}
if "sst" in io.file_extensions:
    KINDS[2].append("sst")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Let 2 and 3 processes read the same fields in several ways."""
    folder = tmp_path_factory.mktemp("blocks")
    fields = write_fields(folder / "fields", ITERATIONS)
    write_series(folder / "fields.bp", NpyFolder(folder / "fields"))
    (folder / "with nan").mkdir()
    for k, field in enumerate(fields):
        if k in (4, 5):  # in the first rank's block, and in the second's
            field[0, 0 if k == 4 else -1] = np.nan
        np.save(folder / "with nan" / f"data_{100 * k}.npy", field)
    producer = multiprocessing.get_context("forkserver").Process(target=produce, args=(folder,))
    if "sst" in KINDS[2]:
        producer.start()
    try:
        for count, kinds in KINDS.items():
            (folder / str(count)).mkdir()
            together(count, folder / str(count), read_all, folder, kinds)
    finally:
        if producer.pid is not None:
            producer.kill()
            producer.join()
    return folder


def found(folder: Path, kind: str, count: int) -> list[Any]:
    files = [folder / f"{kind} of {rank} of {count}" for rank in range(count)]
    return [torch.load(file, weights_only=False) for file in files]


@pytest.fixture(scope="module")
def alone(folder: Path) -> Any:
    return read_alone(folder)


@pytest.mark.parametrize("kind", [k for kinds in KINDS.values() for k in kinds if k != "faulty"])
def test_ranks_learn_from_their_blocks_as_one_does(kind: str, folder: Path, alone: Any) -> None:
    count = 3 if kind == "npy" else 2
    whole = ITERATIONS * 3 * int(np.prod(FIELD_SHAPE)) * 4
    each = found(folder, kind, count)
    for rank, here in enumerate(each):
        expected = {method: alone["weights"][method] for method in here["weights"]}
        compare(here["weights"], expected, f"weights of rank {rank}")
        np.testing.assert_allclose(here["scale"], alone["scale"], rtol=1e-6)
        assert not here["held out"] or rank == 0
    for ours, theirs in zip(each[0]["held out"], alone["held out"], strict=True):
        for name, column in theirs.items():
            np.testing.assert_allclose(ours[name], column, rtol=1e-6, atol=1e-6)
    read = [here["bytes read"] for here in each]
    if kind == "whole":
        assert read == [whole, 0]
    else:  # equal slabs of 2; 3 have 1, 1 and 2 of the 4 chunks along the second axis
        assert read == [whole // 2] * 2 if count == 2 else [whole // 4, whole // 4, whole // 2]
    held = [here["bytes held"] for here in each]
    assert sum(held) == alone["bytes held"]
    rows = math.ceil(NOW / count) + math.ceil(KEPT / count)
    assert max(held) <= alone["bytes held"] * rows / (NOW + KEPT)


def test_what_one_rank_misses_is_named_and_left_out_by_all(folder: Path) -> None:
    first, second = (here["events"] for here in found(folder, "faulty", 2))
    assert first == second
    *steps, ended = first
    assert [s for s in steps if isinstance(s, int)] == [0, 100, 300, 600]
    assert steps[2] == Gap(200, 200, "rank 1 of 2: it did not get it")
    for place, number, rank in ((4, 400, 0), (5, 500, 1)):
        assert isinstance(steps[place], Rejected)
        assert steps[place].iteration == number
        assert steps[place].reason.startswith(f"rank {rank} of 2: ")
        assert "NaN" in steps[place].reason
    assert isinstance(ended, ProducerDied)
    assert ended.reason.startswith("rank 1 of 2: ")
    assert "out of plasma" in ended.reason
