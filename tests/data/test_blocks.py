"""A block of an iteration is what the whole has there, and nothing else is read for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpmd_api as io
import pytest

from insituml.data import NpyFolder, Step
from insituml.data.blocks import Block, nothing, slabs
from insituml.data.chunks import chunk_places
from insituml.data.openpmd import OpenPMDSeries
from insituml.stream import FieldStream

SHAPE = (4, 6, 2)
BLOCK = Block((1, 2, 0), (2, 3, 2))


@pytest.mark.parametrize(
    "chunk, count, cut",
    [((1, 2, 2), 2, [2, 2]), ((1, 2, 2), 3, [1, 1, 2]), ((4, 1, 1), 4, [1, 2, 1, 2])],
)
def test_slabs_hold_each_chunk_once(chunk, count, cut) -> None:
    parts = slabs(SHAPE, chunk, count)
    assert parts is not None
    axis = 0 if chunk[0] < SHAPE[0] else 1
    assert [part.shape[axis] for part in parts] == cut
    places = chunk_places(SHAPE, chunk)
    assert (np.sum([part.holds(places) for part in parts], axis=0) == 1).all()
    whole = np.zeros(SHAPE, int)
    for part in parts:
        whole[part.slices] += 1
    assert (whole == 1).all()


def test_too_few_chunks_are_not_shared_out() -> None:
    assert slabs(SHAPE, SHAPE, 2) is None
    assert slabs(SHAPE, (2, 3, 1), 3) is None
    assert slabs(SHAPE, SHAPE, 1) == (Block((0, 0, 0), SHAPE),)
    assert not nothing(3).holds(chunk_places(SHAPE, (1, 1, 1))).any()


def write(path: Path, order: str, dtype: str) -> None:
    """Write a vector, y of which is constant, and of z not the first plane."""
    series = io.Series(str(path), io.Access.create_linear)
    iteration = series.snapshots()[5]
    mesh = iteration.meshes["B"]
    mesh.data_order, mesh.axis_labels = order, ["x", "y", "z"]
    mesh.grid_spacing, mesh.grid_global_offset = [1.0] * 3, [0.0] * 3
    kept = []  # until the flush
    for axis in "xyz":
        values = np.arange(48).reshape(SHAPE).astype(dtype)
        stored = np.ascontiguousarray(values.T if order == "F" else values)
        component = mesh[axis]
        component.unit_SI, component.position = 0.5, [0.0, 0.0, 0.0]
        component.reset_dataset(io.Dataset(stored.dtype, list(stored.shape)))
        if axis == "y":
            component.make_constant(np.float64(3.0))
            continue
        first = 1 if axis == "z" else 0
        kept.append(np.ascontiguousarray(stored[first:]))
        component.store_chunk(kept[-1], [first, 0, 0], list(kept[-1].shape))
    iteration.close()
    series.close()


@pytest.mark.parametrize(
    "name, order, dtype",
    [("b.h5", "C", "float64"), ("b.bp", "F", "float32"), ("b.bp", "C", "int32")],
)
def test_a_block_of_a_series(tmp_path: Path, name: str, order: str, dtype: str) -> None:
    write(tmp_path / name, order, dtype)
    series = OpenPMDSeries(tmp_path / name, record="B")
    assert series.divisible
    (whole,), (part,) = series.steps([0]), series.steps([0], BLOCK)
    np.testing.assert_array_equal(part.values, whole.values[(slice(None), *BLOCK.slices)])
    assert np.isnan(whole.values[2]).any() or name == "b.h5"  # which has 0 there
    assert whole.bytes_read / part.bytes_read == 48 / 12
    reads = 2 if dtype == "int32" else 1  # over two fillings, to tell what nobody wrote
    assert part.bytes_read == reads * 2 * 12 * np.dtype(dtype).itemsize


def test_a_block_of_a_folder_comes_through_a_stream(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, *SHAPE))
    np.save(tmp_path / "data_7.npy", values)
    stream = FieldStream(NpyFolder(tmp_path, spacing=(1.0, 2.0, 3.0)))
    described = stream.describe()
    assert described.divisible
    assert described.of_block(BLOCK).shape == (3, *BLOCK.shape)
    assert described.of_block(BLOCK).grid.origin == (1.0, 4.0, 0.0)  # type: ignore[union-attr]
    step, _ = stream.events(None, BLOCK)
    assert isinstance(step, Step)
    expected = values.astype(np.float32)[(slice(None), *BLOCK.slices)]
    np.testing.assert_array_equal(step.values, expected)
    assert step.bytes_read == 3 * 12 * 8
