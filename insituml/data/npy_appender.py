"""Write an array to a file row by row, without knowing how many there will be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy


class NpyAppender:
    """A ``.npy`` file that grows; the bytes are those of ``np.save`` of all rows together.

    Nothing is mapped: a full disk raises ``OSError`` where a memory map would kill the process.

    Parameters
    ----------
    path
        Replaced if it exists. Complete once the appender is closed.
    """

    def __init__(self, path: Path | str) -> None:
        self._file: BinaryIO = Path(path).open("wb")  # noqa: SIM115 - closed by close()
        self._header: dict[str, Any] | None = None
        self.rows = 0
        """Rows written so far."""

    def append(self, rows: np.ndarray) -> None:
        """Write rows ``(n, ...)``.

        Raises
        ------
        ValueError
            If their shape or dtype differs from those before.
        """
        header = {
            "descr": npy.dtype_to_descr(rows.dtype),
            "fortran_order": False,
            "shape": rows.shape[1:],
        }
        if self._header is None:
            self._header = header
            self._write_header()
        elif header != self._header:
            raise ValueError(f"rows of {header} arrived; expected {self._header} as before")
        try:
            self._file.write(np.ascontiguousarray(rows).tobytes())
            self._file.flush()
        except OSError as error:
            error.filename = self._file.name
            raise
        self.rows += len(rows)

    def close(self) -> None:
        """Write how many rows there are, and close the file."""
        if not self._file.closed:
            if self._header is not None:
                self._write_header()
            self._file.close()

    def _write_header(self) -> None:
        assert self._header is not None
        self._file.seek(0)
        # NumPy leaves room for the first dimension to grow: the header keeps its length.
        shape = (self.rows, *self._header["shape"])
        npy.write_array_header_1_0(self._file, {**self._header, "shape": shape})
