"""SZ3 and ZFP: what a learner's rate and error are compared with.

Both promise that no value is off by more than a bound. What they hand back is looked at before
anybody relies on it: beyond the precision of float32, for instance, ZFP does not keep its promise.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from insituml.archive.sealed import OVERHEAD, seal, unseal
from insituml.compressor_packages import compressor_package

MAX_AXES = 4
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class _Compressor:
    compress: Callable[[np.ndarray, float], bytes]
    decompress: Callable[[bytes, np.dtype, tuple[int, ...]], np.ndarray]


def compress(volume: np.ndarray, bound: float, *, compressor: str = "sz3") -> bytes:
    """Compress a volume so that no value of it is off by more than a bound.

    Hand in whole volumes, a component each: in chunks or flattened, compressors lose what
    neighbouring points have in common.

    Parameters
    ----------
    volume
        One to four axes (for instance x, y, z; or time, x, y, z), float32 or float64.
    bound
        Largest absolute error, in the volume's unit.
    compressor
        ``"sz3"``: its default, which predicts by interpolation or from neighbours, whichever
        seems better; ``"sz3_interpolation"``: the former alone; ``"zfp"``.

    Returns
    -------
    bytes
        All that :func:`decompress` needs; :func:`overhead` of them are not the compressor's own.

    Raises
    ------
    ValueError
        If the volume is of another type or size or not finite, the bound is not above 0, or the
        compressor does not keep it (ZFP, with bounds near the rounding of float32).
    ImportError
        If the compressor is not installed.
    """
    chosen = _compressor(compressor)
    volume = np.asarray(volume)
    if volume.dtype not in _DTYPES or not 1 <= volume.ndim <= MAX_AXES or volume.size == 0:
        raise ValueError(
            f"a volume of {volume.dtype} and shape {volume.shape} arrived; {compressor} takes "
            f"float32 or float64 with 1 to {MAX_AXES} axes of at least one point"
        )
    if not np.isfinite(volume).all():
        wrong = int(np.count_nonzero(~np.isfinite(volume)))
        raise ValueError(
            f"{wrong} of {volume.size} values are NaN or infinite, for which no bound holds; mend "
            "them first"
        )
    if not 0 < bound < np.inf:
        raise ValueError(
            f"bound is {bound}; expected a finite number above 0, in the volume's unit"
        )
    payload = chosen.compress(np.ascontiguousarray(volume), float(bound))
    error = _largest_error(volume, chosen.decompress(payload, volume.dtype, volume.shape))
    if not error <= bound:
        raise ValueError(
            f"{compressor} gave back values that are off by up to {error:.3g}, beyond the bound "
            f"{bound:.3g}; {volume.dtype} of this size is rounded by "
            f"{float(np.spacing(np.abs(volume).max())):.3g}: choose a larger bound"
        )
    return seal(_header(compressor, volume) + payload)


def decompress(data: bytes) -> np.ndarray:
    """Return the volume that :func:`compress` was given, within its bound, in its dtype.

    Raises
    ------
    ValueError
        If the bytes are no such volume, or damaged.
    ImportError
        If the compressor is not installed.
    """
    content = unseal(data, "compressed volume")
    kind, axes = struct.unpack_from("<BB", content)
    compressor, dtype = list(_COMPRESSORS)[kind // 2], _DTYPES[kind % 2]
    shape = struct.unpack_from(f"<{axes}I", content, 2)
    return _compressor(compressor).decompress(content[2 + 4 * axes :], dtype, shape)


def overhead(axes: int) -> int:
    """Return how many bytes of :func:`compress` are ours: checksum, type, and shape."""
    return OVERHEAD + 2 + 4 * axes


def _header(compressor: str, volume: np.ndarray) -> bytes:
    kind = 2 * list(_COMPRESSORS).index(compressor) + _DTYPES.index(volume.dtype)
    return struct.pack(f"<BB{volume.ndim}I", kind, volume.ndim, *volume.shape)


def _largest_error(before: np.ndarray, after: np.ndarray) -> float:
    if after.shape != before.shape or after.dtype != before.dtype:
        raise ValueError(
            f"the compressor made {after.dtype} of shape {after.shape} of {before.dtype} of shape "
            f"{before.shape}; its library does not take such a volume"
        )
    return float(np.abs(after.astype(np.float64) - before.astype(np.float64)).max())


def _compressor(name: str) -> _Compressor:
    if name not in _COMPRESSORS:
        raise ValueError(f"compressor is {name!r}; expected one of {', '.join(_COMPRESSORS)}")
    return _COMPRESSORS[name]


def _sz3(algorithm: str) -> _Compressor:
    def compress(volume: np.ndarray, bound: float) -> bytes:
        pysz = compressor_package("pysz")
        config = pysz.szConfig(volume.shape)
        config.errorBoundMode = pysz.szErrorBoundMode.ABS
        config.absErrorBound = bound
        config.cmprAlgo = getattr(pysz.szAlgorithm, algorithm)
        return compressor_package("pysz").sz.compress(volume, config)[0].tobytes()

    def decompress(data: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        content = np.frombuffer(data, dtype=np.uint8).copy()
        return compressor_package("pysz").sz.decompress(content, dtype, shape)[0]

    return _Compressor(compress, decompress)


def _zfp() -> _Compressor:
    def compress(volume: np.ndarray, bound: float) -> bytes:
        return compressor_package("zfpy").compress_numpy(volume, tolerance=bound)

    def decompress(data: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        return compressor_package("zfpy").decompress_numpy(data)

    return _Compressor(compress, decompress)


_COMPRESSORS = {
    "sz3": _sz3("INTERP_LORENZO"),
    "sz3_interpolation": _sz3("INTERP"),
    "zfp": _zfp(),
}
COMPRESSORS = tuple(_COMPRESSORS)
"""Names of the compressors."""
