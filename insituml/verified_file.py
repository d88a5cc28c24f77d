"""Files that are written whole or not at all, and that notice damage when they are read.

The content is what ``torch.save`` writes, a zip archive. A zip archive may end in a comment; ours
is the SHA-256 of all bytes before it, so ``torch.load`` still opens the file as it is.
"""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import torch

from insituml.atomic_file import write_atomically
from insituml.plain_content import check_no_larger, check_plain
from insituml.safe_reading import DamagedFileError, read_bytes

__all__ = ["DamagedFileError", "read_verified", "write_verified"]

_DIGEST_LENGTH = 64


def write_verified(path: Path | str, state: dict[str, Any]) -> Path:
    """Write a nested dictionary of tensors, numbers, strings and lists, with a checksum.

    The same state gives the same bytes.

    Raises
    ------
    TypeError
        If ``state`` holds anything else; the message says where.
    """
    buffer = io.BytesIO()
    torch.save(_canonical(state, "state"), buffer)
    content = bytearray(buffer.getvalue())
    # The last two bytes of a zip archive without comment are the comment's length.
    content[-2:] = _DIGEST_LENGTH.to_bytes(2, "little")
    digest = hashlib.sha256(content).hexdigest().encode()
    return write_atomically(path, bytes(content) + digest)


def read_verified(path: Path | str, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what :func:`write_verified` wrote; no code stored in the file is ever run.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If the checksum does not match: cut short, changed, not written by insituml, or no file; or
        if it holds what insituml does not write, such as more than its size has room for.
    """
    content = read_bytes(path)
    body, digest = content[:-_DIGEST_LENGTH], content[-_DIGEST_LENGTH:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedFileError(
            f"{path} ({len(content)} bytes) is damaged, or was not written by insituml: it does "
            "not end with the SHA-256 of its content. If insituml wrote it, delete it and run the "
            "stage that writes it again."
        )
    try:
        check_no_larger(content)
        state = torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
        check_plain(state, len(content))
    except Exception as error:  # a zip archive, a pickle and tensors: each fails in its own ways
        reason = str(error).strip().partition("\n")[0]
        raise DamagedFileError(f"{path} holds what cannot be read safely: {reason}") from error
    return state


def _canonical(value: Any, where: str) -> Any:
    """Copy ``value`` so that equal content pickles to equal bytes.

    Pickle stores a repeated string or a shared storage once, by identity; whether two equal
    strings are one object depends on where they came from.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, str):
        return sys.intern(str(value))
    if value is None or isinstance(value, bool):
        return value
    # Subclasses (np.float64, IntEnum) would be written as such, and refused when read.
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, torch.Size | torch.dtype | complex):
        return value
    if isinstance(value, torch.device):
        return torch.device(str(value))
    if isinstance(value, dict):
        return {
            _canonical(key, where): _canonical(item, f"{where}[{key!r}]")
            for key, item in value.items()
        }
    if type(value) is tuple:
        return tuple(_canonical(item, f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(
        f"{where} is a {type(value).__name__}; a verified file holds tensors, numbers, strings, "
        "None, and lists or dictionaries of these. Convert it first."
    )
