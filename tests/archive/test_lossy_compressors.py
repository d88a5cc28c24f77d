"""SZ3 and ZFP within their bounds, and refused where they are not."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from insituml.archive.lossy_compressors import COMPRESSORS, compress, decompress, overhead

zfpy = pytest.importorskip("zfpy")
pytest.importorskip("pysz")

each_compressor = pytest.mark.parametrize("compressor", COMPRESSORS)


def smooth(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(0, 3, n) for n in shape), indexing="ij")
    return (2e11 * np.sin(sum(axes))).astype(dtype)


def rough(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return (2e11 * np.random.default_rng(0).normal(size=shape)).astype(dtype)


@each_compressor
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 7), (1, 9, 1), (16, 33, 17), (3, 5, 13, 6)])
@pytest.mark.parametrize("make", [smooth, rough])
def test_no_value_is_off_by_more_than_the_bound(
    compressor: str, dtype: type, shape: tuple[int, ...], make: Any
) -> None:
    volume = make(shape, dtype)
    for bound in (1e11, 3e9, 1e7):
        restored = decompress(compress(volume, bound, compressor=compressor))
        assert (restored.shape, restored.dtype) == (shape, volume.dtype)
        difference = restored.astype(np.float64) - volume.astype(np.float64)
        assert np.abs(difference).max() <= bound


@each_compressor
def test_smooth_fields_shrink_the_more_the_larger_the_bound(compressor: str) -> None:
    volume = smooth((16, 64, 16), np.float32)
    sizes = [len(compress(volume, bound, compressor=compressor)) for bound in (1e8, 1e9, 1e10)]
    assert volume.nbytes > 4 * sizes[0] > 4 * sizes[1] > 4 * sizes[2]


@each_compressor
@pytest.mark.parametrize("value", [0.0, -3e11])
def test_constants(compressor: str, value: float) -> None:
    volume = np.full((6, 7, 9), value, dtype=np.float32)
    restored = decompress(compress(volume, 1e6, compressor=compressor))
    np.testing.assert_allclose(restored, volume, rtol=0, atol=1e6)


@each_compressor
def test_how_the_array_lies_in_memory_does_not_matter(compressor: str) -> None:
    volume = smooth((6, 10, 7), np.float32)
    expected = compress(volume, 1e9, compressor=compressor)
    assert compress(np.asfortranarray(volume), 1e9, compressor=compressor) == expected
    assert compress(np.repeat(volume, 2, axis=1)[:, ::2], 1e9, compressor=compressor) == expected


def test_a_bound_below_the_rounding_of_the_type_is_refused() -> None:
    volume = rough((16, 33, 17), np.float32)
    with pytest.raises(ValueError, match="zfp gave back values that are off by up to"):
        compress(volume, 1e-9 * float(np.abs(volume).max()), compressor="zfp")


def test_wrong_numbers_of_a_library_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    volume, right = smooth((5, 6, 7), np.float32), zfpy.decompress_numpy
    for wrong in (
        lambda data: right(data) + np.float32(1e10),
        lambda data: right(data)[:-1],
        lambda data: np.full_like(right(data), np.nan),
        lambda data: right(data).astype(np.float64),
    ):
        monkeypatch.setattr(zfpy, "decompress_numpy", wrong)
        with pytest.raises(ValueError, match=r"beyond the bound|the compressor made"):
            compress(volume, 1e9, compressor="zfp")


@each_compressor
def test_damaged_bytes_never_reach_the_library(compressor: str) -> None:
    data = compress(smooth((8, 9, 10), np.float32), 1e9, compressor=compressor)
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    for damaged in (data[:-1], data[: len(data) // 2], data[:3], b"", data + b"\0", bytes(changed)):
        with pytest.raises(ValueError, match=r"damaged or cut short.*make them again"):
            decompress(damaged)


@pytest.mark.parametrize(
    "volume, bound, problem",
    [
        (np.array([1.0, np.nan, np.inf]), 0.1, "2 of 3 values are NaN or infinite"),
        (np.ones(3), 0.0, "bound is 0.0; expected a finite number above 0"),
        (np.ones(3), np.nan, "bound is nan"),
        (np.ones(3), np.inf, "bound is inf"),
        (np.ones(3, np.float16), 0.1, r"a volume of float16 and shape \(3,\) arrived"),
        (np.ones(3, np.int32), 0.1, "int32"),
        (np.ones((1, 1, 1, 1, 1)), 0.1, "1 to 4 axes"),
        (np.ones((2, 0)), 0.1, "at least one point"),
        (np.float32(1), 0.1, r"shape \(\)"),
    ],
)
@each_compressor
def test_what_cannot_be_compressed(
    compressor: str, volume: np.ndarray, bound: float, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        compress(volume, bound, compressor=compressor)


def test_no_such_compressor() -> None:
    with pytest.raises(ValueError, match=r"compressor is 'gzip'; expected one of sz3, .*zfp"):
        compress(np.ones(3), 0.1, compressor="gzip")


@pytest.mark.parametrize("compressor, module", [("sz3", "pysz"), ("zfp", "zfpy")])
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, compressor: str, module: str
) -> None:
    def absent(name: str, *others: Any) -> Any:
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return importlib.__import__(name, *others)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ImportError, match=rf"{module} is not installed.*insituml\[compressors\]"):
        compress(np.ones(3), 0.1, compressor=compressor)


def test_what_is_ours_of_the_bytes() -> None:
    volume = smooth((8, 9, 10), np.float32)
    assert len(compress(volume, 1e9, compressor="zfp")) - overhead(3) == len(
        zfpy.compress_numpy(volume, tolerance=1e9)
    )
