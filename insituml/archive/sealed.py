"""Bytes that notice damage before a decoder makes numbers, or a crash, of them."""

from __future__ import annotations

import struct
import zlib

_CHECKSUM = struct.Struct("<I")
OVERHEAD = _CHECKSUM.size
"""Bytes that a seal adds."""


def seal(data: bytes) -> bytes:
    """Return ``data`` with its CRC-32 in front."""
    return _CHECKSUM.pack(zlib.crc32(data)) + data


def unseal(sealed: bytes, what: str) -> bytes:
    """Return what :func:`seal` was given.

    Parameters
    ----------
    sealed
        From :func:`seal`.
    what
        It is, for the error.

    Raises
    ------
    ValueError
        If a byte of it is missing, another one, or too many.
    """
    data = bytes(sealed[OVERHEAD:])
    if len(sealed) < OVERHEAD or _CHECKSUM.unpack_from(sealed)[0] != zlib.crc32(data):
        raise ValueError(
            f"{len(sealed)} bytes arrived that are no {what}, or are damaged or cut short: their "
            "checksum differs; make them again from the original"
        )
    return data
