"""How a column of a stored sample becomes bytes: exactly, or within a measured error."""

from __future__ import annotations

import math
import struct

import numpy as np
import torch
from torch import Tensor

from insituml.compressor_packages import compressor_package

GRID_AXES = (1, 2, 3)
"""Of the fields that are compressed; zfp knows blocks of these."""


class ExactColumn:
    """Values as they are.

    Parameters
    ----------
    shape, dtype
        Of one sample's values.
    """

    def __init__(self, shape: torch.Size, dtype: torch.dtype) -> None:
        self.shape = shape
        self.dtype = dtype

    @property
    def largest(self) -> int:
        """Bytes that no sample's exceed."""
        return self.shape.numel() * self.dtype.itemsize

    def encode(self, values: Tensor) -> bytes:
        """Return the bytes of one sample's values, on the CPU."""
        return _bytes_of(values)

    def length(self, content: memoryview) -> int:
        """Return how many bytes the values take with which the content begins."""
        return self.largest

    def decode(self, content: memoryview) -> Tensor:
        """Return the values that :meth:`encode` was given, or nearly so where it says that."""
        return _values_of(content, self.dtype, self.shape)


class BoundedColumn(ExactColumn):
    """Components of a field, each compressed by zfp, with a bound on their error together.

    The bytes are the lengths of the components', then these; where that is no shorter than the
    values themselves, or the bound is below what zfp can keep, lengths of 0, then the values.

    Parameters
    ----------
    shape, dtype
        ``(components, *grid)`` with one to three axes; any real floating-point numbers.
    rms_error
        Largest root-mean-square error of one sample's values.

    References
    ----------
    Lindstrom, "Fixed-rate compressed floating-point arrays", IEEE TVCG 2014; here in the
    fixed-accuracy mode.
    """

    def __init__(self, shape: torch.Size, dtype: torch.dtype, rms_error: float) -> None:
        super().__init__(shape, dtype)
        self.rms_error = rms_error
        self._zfp = compressor_package("zfpy")
        self._computed = torch.promote_types(dtype, torch.float32)
        self._lengths = struct.Struct(f"<{shape[0]}I")
        # zfp reads on behind the end of a stream that was cut short: it is given zeros there.
        self._padded = 2 * self._computed.itemsize * math.prod(-(-n // 4) * 4 for n in shape[1:])
        self._padded += 64

    @property
    def largest(self) -> int:
        return self._lengths.size + super().largest

    def encode(self, values: Tensor) -> bytes:
        """Return the fewest bytes that zfp needs to keep the bound.

        Raises
        ------
        ValueError
            If a value is NaN or infinite.
        """
        fields = values.to(self._computed).numpy()
        if not np.isfinite(fields).all():
            wrong = int(np.count_nonzero(~np.isfinite(fields)))
            raise ValueError(
                f"{wrong} of {fields.size} values of a sample are NaN or infinite, for which no "
                "error bound holds; leave such samples out, or use a memory that stores them as "
                "they are"
            )
        exact = bytes(self._lengths.size) + _bytes_of(values)
        kept = self._shortest(values, fields)
        return kept if kept is not None and len(kept) < len(exact) else exact

    def length(self, content: memoryview) -> int:
        lengths = self._lengths.unpack_from(content)
        return self._lengths.size + sum(lengths) if any(lengths) else self.largest

    def decode(self, content: memoryview) -> Tensor:
        lengths, start = self._lengths.unpack_from(content), self._lengths.size
        if not any(lengths):
            return _values_of(content[start:], self.dtype, self.shape)
        values = torch.empty(self.shape, dtype=self.dtype)
        for component, length in zip(values, lengths, strict=True):
            component.copy_(self._decompressed(bytes(content[start : start + length])))
            start += length
        return values

    def _shortest(self, values: Tensor, fields: np.ndarray) -> bytes | None:
        """Return the bytes by the largest tolerance that keeps the bound, if one does."""
        # zfp rounds a tolerance down to a power of two: these are all that there are. As no value
        # is off by more, none below the bound is worth trying; as it has 2 (axes + 1) bits to
        # spare, errors are smaller by far and the search begins above, and by a tolerance so much
        # larger than all values nothing of them is left.
        lowest = self.rms_error / 4
        highest = float(np.abs(fields).max(initial=0.0)) * 4 ** len(self.shape)
        tolerance = 2.0 ** math.frexp(8 * self.rms_error)[1] / 2
        kept = self._within(values, fields, tolerance)
        if kept is None:
            while kept is None and tolerance > lowest:
                tolerance /= 2
                kept = self._within(values, fields, tolerance)
            return kept
        while tolerance <= highest:
            tolerance *= 2
            larger = self._within(values, fields, tolerance)
            if larger is None:
                break
            kept = larger
        return kept

    def _within(self, values: Tensor, fields: np.ndarray, tolerance: float) -> bytes | None:
        """Return the bytes by a tolerance, or None if the error they bring is too large."""
        parts = [self._zfp.compress_numpy(np.ascontiguousarray(f), tolerance) for f in fields]
        content = self._lengths.pack(*map(len, parts)) + b"".join(parts)
        error = self.decode(memoryview(content)).double() - values.double()
        return content if float(error.square().mean().sqrt()) <= self.rms_error else None

    def _decompressed(self, stream: bytes) -> Tensor:
        """Return a component, whatever a damaged stream says of itself."""
        grid = self.shape[1:]
        try:
            about = self._zfp.header(stream)
        except (ValueError, IndexError) as error:
            raise ValueError(f"a stored sample is no stream of zfp ({error})") from error
        found = tuple(n for n in (about[f"n{axis}"] for axis in "wzyx") if n)  # x: the last axis
        kind = torch.empty(0, dtype=self._computed).numpy().dtype
        if found != tuple(grid) or about["type"] != kind or about["mode"] != "tolerance":
            raise ValueError(
                f"a stored sample is a zfp stream of {found} in mode {about['mode']}; expected "
                f"{tuple(grid)} in mode tolerance"
            )
        return torch.from_numpy(
            self._zfp.decompress_numpy(stream.ljust(self._padded, b"\0")).reshape(grid)
        )


def column_of(shape: torch.Size, dtype: torch.dtype, rms_error: float) -> ExactColumn:
    """Return how a column of samples is stored: fields with an error, everything else exactly."""
    if dtype.is_floating_point and len(shape) - 1 in GRID_AXES and shape.numel():
        return BoundedColumn(shape, dtype, rms_error)
    return ExactColumn(shape, dtype)


def _bytes_of(values: Tensor) -> bytes:
    return values.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _values_of(content: memoryview, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    if not len(content):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).view(dtype).view(shape)
