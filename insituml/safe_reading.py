"""Files are read if they are what they should be; else one line says which file is not, and why.

What lies in a folder is data: a pipe would hang its reader, a pickle run code, and a device never
end. None of them is opened.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_JSON = 2**28
"""Bytes; a description of data is far smaller."""


class DamagedFileError(ValueError):
    """A file whose content is not what was written."""


def open_regular(path: Path | str) -> BufferedReader:
    """Open a file to read its bytes.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DamagedFileError
        If it is a folder, a pipe or a device, or a link that leads nowhere.
    """
    try:
        # A pipe without a writer would be waited for, were it not for O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise DamagedFileError(f"{path} is a link to a file that is not there") from None
        raise
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise DamagedFileError(f"{path} is {kind}, where a file was expected")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path | str) -> bytes:
    """Return a file's content; errors are those of :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_json(path: Path | str) -> Any:
    """Return the plain values of a JSON file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DamagedFileError
        If it is no JSON, or no file at all.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST_JSON + 1)
    if len(content) > LARGEST_JSON:
        raise DamagedFileError(f"{path} is damaged: it has more than {LARGEST_JSON} bytes")
    if not content.strip(b"\0 \t\r\n"):
        raise DamagedFileError(f"{path} is damaged: it is empty")
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:  # no UTF-8, or no JSON
        raise DamagedFileError(f"{path} is damaged: it is no JSON ({error})") from error


def map_npy(path: Path | str) -> np.ndarray:
    """Map a ``.npy`` file copy-on-write; of its content nothing is read yet.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DamagedFileError
        If it is no such file, cut short, or holds Python objects.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        beginning = file.read(2**16)
    try:
        dtype, shape, start = _header(beginning)
        expected = start + dtype.itemsize * int(np.prod(shape, dtype=object))
        if size != expected:
            raise ValueError(f"it has {size} bytes, its header promises {expected}")
        if expected == start:
            return np.empty(shape, dtype)
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, TypeError, SyntaxError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise DamagedFileError(f"{path} is damaged: {reason}") from error


def _header(beginning: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return dtype and shape of an array, and where its numbers begin."""
    if not beginning.startswith(b"\x93NUMPY"):
        raise ValueError("it is no .npy file" if beginning else "it is empty")
    file = io.BytesIO(beginning)
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        version, np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, not numbers")
    return dtype, shape, file.tell()


def digest_of(path: Path | str) -> bytes:
    """Return the SHA-256 of a file's content; errors are those of :func:`open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").digest()
