"""A growing file has the bytes of numpy's own."""

from __future__ import annotations

import io
from contextlib import closing

import numpy as np
import pytest

from insituml.data.npy_appender import NpyAppender


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 1)])
def test_bytes_are_those_of_numpy_whatever_the_blocks(shape, dtype, tmp_path) -> None:
    rows = np.random.default_rng(0).integers(0, 99, (23, *shape)).astype(dtype)
    buffer = io.BytesIO()
    np.save(buffer, rows)
    with closing(NpyAppender(tmp_path / "x.npy")) as file:
        for block in np.split(rows, [5, 5, 6, 20]):
            file.append(block)
        assert file.rows == 23
    assert (tmp_path / "x.npy").read_bytes() == buffer.getvalue()


def test_other_rows_are_refused(tmp_path) -> None:
    with closing(NpyAppender(tmp_path / "x.npy")) as file:
        file.append(np.zeros((2, 3)))
        with pytest.raises(ValueError, match=r"expected .* as before"):
            file.append(np.zeros((2, 4)))
    assert np.load(tmp_path / "x.npy").shape == (2, 3)
