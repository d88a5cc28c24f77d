"""Numbers in fewer bytes, without loss: byte planes, then an entropy coder of the standard library.

On int8 latents of a wakefield a range coder with a Laplace distribution fitted to each latent came
out between 9 % longer and 3 % shorter than this, on weights both reach the entropy to 2 %.
"""

from __future__ import annotations

import lzma
import zlib

import numpy as np

_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}]


def squeeze(values: np.ndarray) -> bytes:
    """Return the values of an array in as few bytes as the better of two coders needs.

    The first bytes of all numbers are coded together, then the second ones: exponents repeat where
    the rest of a float looks random.
    """
    width = values.dtype.itemsize
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    planes = np.ascontiguousarray(little).reshape(-1).view(np.uint8).reshape(-1, width).T
    data = planes.tobytes()
    huffman = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    candidates = (
        huffman.compress(data) + huffman.flush(),
        lzma.compress(data, format=lzma.FORMAT_RAW, filters=_LZMA),
    )
    coder, shortest = min(enumerate(candidates), key=lambda pair: len(pair[1]))
    return bytes([coder]) + shortest


def expand(data: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return what :func:`squeeze` was given, of this type and shape.

    Raises
    ------
    ValueError
        If it was another array.
    """
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    size = count * dtype.itemsize
    try:
        if data[:1] == b"\0":
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            content = inflate.decompress(data[1:], size + 1)
        else:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA)
            content = decoder.decompress(data[1:], size + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{len(data)} coded bytes cannot be read: {error}") from error
    if len(content) != size:
        raise ValueError(
            f"{len(data)} coded bytes hold {'more' if len(content) > size else 'fewer'} than the "
            f"{size} bytes of {dtype} of shape {shape} that were expected"
        )
    planes = np.frombuffer(content, dtype=np.uint8).reshape(dtype.itemsize, count)
    little = np.array(planes.T, order="C").view(dtype.newbyteorder("<"))  # a copy can be written to
    return little.astype(dtype, copy=False).reshape(shape)
