"""Coded numbers come back bit by bit, in about as many bytes as their entropy asks for."""

from __future__ import annotations

import numpy as np
import pytest

from insituml.archive.entropy import expand, squeeze


@pytest.mark.parametrize("dtype", ["int8", "int16", "float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7, 3), (2, 5, 3)])
def test_every_bit_comes_back(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.asarray(40 * np.random.default_rng(0).normal(size=shape)).astype(dtype)
    back = expand(squeeze(values), values.dtype, shape)
    assert (back.dtype, back.shape) == (values.dtype, shape)
    assert back.tobytes() == values.tobytes()
    assert back.flags.writeable


def test_what_is_no_number_comes_back_too() -> None:
    values = np.array([np.nan, -0.0, np.inf, 5e-324, -np.inf])
    assert expand(squeeze(values), values.dtype, (5,)).tobytes() == values.tobytes()


@pytest.mark.parametrize("spread", [1.0, 5.0, 30.0])
def test_integers_take_what_their_entropy_asks_for(spread: float) -> None:
    values = np.rint(spread * np.random.default_rng(0).normal(size=(2000, 32))).astype(np.int8)
    _, counts = np.unique(values, return_counts=True)
    shares = counts / values.size
    entropy = -(shares * np.log2(shares)).sum() * values.size / 8
    assert entropy < len(squeeze(values)) < 1.06 * entropy


def test_other_sizes_and_broken_codes_are_refused() -> None:
    for values in (np.arange(100, dtype=np.int8), np.zeros(100, np.int8)):
        data = squeeze(values)
        for wrong in (data[: len(data) // 2], b"\0\xff\xff", b"\1\xff\xff", b""):
            with pytest.raises(ValueError, match="coded bytes"):
                expand(wrong, values.dtype, (100,))
        for shape in ((99,), (101,)):
            with pytest.raises(ValueError, match=r"coded bytes hold (more|fewer) than the"):
                expand(data, values.dtype, shape)
