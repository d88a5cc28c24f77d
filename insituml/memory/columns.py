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
STEPS = 4
"""Tolerances from one power of two to the next."""
SECANTS = 6
"""How often a tolerance is guessed from the error of the last one, before halves are taken."""


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

    The bytes are a scale, the lengths of the components' and these; where that is no shorter than
    the values themselves, or the bound is below what zfp can keep, lengths of 0, then the values.

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
        self._head = struct.Struct(f"<f{shape[0]}I")
        # zfp reads on behind the end of a stream that was cut short: it is given zeros there.
        self._padded = 2 * self._computed.itemsize * math.prod(-(-n // 4) * 4 for n in shape[1:])
        self._padded += 64

    @property
    def largest(self) -> int:
        return self._head.size + super().largest

    def encode(self, values: Tensor) -> bytes:
        """Return about the fewest bytes by which zfp keeps the bound.

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
        exact = bytes(self._head.size) + _bytes_of(values)
        kept = self._shortest(values, fields)
        return kept if kept is not None and len(kept) < len(exact) else exact

    def length(self, content: memoryview) -> int:
        _, *lengths = self._head.unpack_from(content)
        return self._head.size + sum(lengths) if any(lengths) else self.largest

    def decode(self, content: memoryview) -> Tensor:
        scale, *lengths = self._head.unpack_from(content)
        start = self._head.size
        if not any(lengths):
            return _values_of(content[start:], self.dtype, self.shape)
        values = torch.empty(self.shape, dtype=self.dtype)
        for component, length in zip(values, lengths, strict=True):
            component.copy_(self._decompressed(bytes(content[start : start + length])) * scale)
            start += length
        return values

    def _shortest(self, values: Tensor, fields: np.ndarray) -> bytes | None:
        """Return the bytes by a tolerance that keeps the bound while the next one does not."""
        # Tolerances are powers of 2^(1/STEPS). As no value is off by more, none below the bound is
        # worth trying. As zfp has 2 (axes + 1) bits to spare, errors are smaller by far, and by a
        # tolerance so much larger than all values nothing of them is left.
        peak = float(np.abs(fields).max(initial=0.0))
        within = _step(self.rms_error / 4)
        beyond = max(_step(peak * 4 ** len(self.shape)), within + 1) + 1
        is_nothing = float(np.square(fields, dtype=np.float64).mean()) <= self.rms_error**2
        step = beyond - 1 if is_nothing else min(_step(32 * self.rms_error), beyond - 1)
        kept, tries = None, 0
        while beyond - within > 1:
            content, error = self._tried(values, fields, step)
            if error <= self.rms_error:
                kept, within = content, step
            else:
                beyond = step
            tries += 1
            # The error grows about as the tolerance; where it does not, halves are as good.
            ahead = _step(self.rms_error / error) if error else beyond
            step = step + ahead if tries < SECANTS else (within + beyond) // 2
            step = min(max(step, within + 1), beyond - 1)
        return kept

    def _tried(self, values: Tensor, fields: np.ndarray, step: int) -> tuple[bytes, float]:
        """Return the bytes by one of the tolerances, and the error they bring."""
        # zfp rounds a tolerance down to a power of two; the values are scaled for the rest.
        whole, part = divmod(step, STEPS)
        scale = np.float32(2 ** (part / STEPS))
        scaled = np.ascontiguousarray(fields / scale)
        parts = [self._zfp.compress_numpy(field, 2.0**whole) for field in scaled]
        content = self._head.pack(scale, *map(len, parts)) + b"".join(parts)
        error = self.decode(memoryview(content)).double() - values.double()
        return content, float(error.square().mean().sqrt())

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


def _step(tolerance: float) -> int:
    """Return which of the tolerances is this one or the next smaller."""
    return math.floor(STEPS * math.log2(max(tolerance, 1e-300)))


def _bytes_of(values: Tensor) -> bytes:
    return values.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _values_of(content: memoryview, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    if not len(content):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).view(dtype).view(shape)
