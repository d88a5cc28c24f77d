"""Files that are written whole or not at all, and that notice damage when they are read.

The content is what ``torch.save`` writes, a zip archive. A zip archive may end in a comment; ours
is the SHA-256 of all bytes before it, so ``torch.load`` still opens the file as it is.
"""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from insituml.atomic_file import write_atomically_by
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
    OSError
        If the file cannot be written, such as on a full disk; with its name.
    """
    canonical = _canonical(state, "state", set())

    def write(file: BinaryIO) -> None:
        sealed = _Sealed(file)
        try:
            torch.save(canonical, cast("IO[bytes]", sealed))
        except RuntimeError:
            # torch goes on to end its archive, and what it says of that hides why it could not.
            if sealed.failure is None:
                raise
            raise sealed.failure from None
        sealed.end()

    return write_atomically_by(path, write)


class _Sealed(io.RawIOBase):
    """Passes an archive on to a file as it is written, and ends it with its checksum."""

    failure: BaseException | None = None
    """What writing failed by, or was interrupted by."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._last = b""

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        try:
            return self._take(content)
        except BaseException as error:
            self.failure = error
            raise

    def _take(self, content: Any) -> int:
        content = memoryview(content).cast("B")
        count = len(content)
        # The last two bytes of a zip archive without comment are the comment's length.
        if len(content) < 2:
            content = memoryview(self._last + content)
        else:
            self._pass_on(self._last)
        self._pass_on(content[:-2])
        self._last = bytes(content[-2:])
        return count

    def end(self) -> None:
        """Write the length of the comment, and the comment: the checksum of all before it."""
        self._pass_on(_DIGEST_LENGTH.to_bytes(2, "little"))
        self._file.write(self._digest.hexdigest().encode())

    def _pass_on(self, content: bytes | memoryview) -> None:
        self._digest.update(content)
        self._file.write(content)


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
    digest = content[-_DIGEST_LENGTH:]
    if hashlib.sha256(memoryview(content)[:-_DIGEST_LENGTH]).hexdigest().encode() != digest:
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


def _canonical(value: Any, where: str, seen: set[int]) -> Any:
    """Return ``value`` so that equal content pickles to equal bytes.

    Pickle stores a repeated string or a shared storage once, by identity; whether two equal
    strings are one object depends on where they came from. ``seen`` are the storages so far.
    """
    if isinstance(value, torch.Tensor):
        return _alone(value.detach(), seen)
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
            _canonical(key, where, seen): _canonical(item, f"{where}[{key!r}]", seen)
            for key, item in value.items()
        }
    if type(value) is tuple:
        return tuple(
            _canonical(item, f"{where}[{index}]", seen) for index, item in enumerate(value)
        )
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{where}[{index}]", seen) for index, item in enumerate(value)]
    raise TypeError(
        f"{where} is a {type(value).__name__}; a verified file holds tensors, numbers, strings, "
        "None, and lists or dictionaries of these. Convert it first."
    )


def _alone(tensor: torch.Tensor, seen: set[int]) -> torch.Tensor:
    """Return a contiguous tensor on the CPU with a storage of its own: itself, if it is one.

    A copy of everything would take as much memory again.
    """
    storage = tensor.untyped_storage() if tensor.layout == torch.strided else None
    if (
        storage is None
        or tensor.device.type != "cpu"
        or not tensor.is_contiguous()
        or tensor.is_conj()
        or tensor.is_neg()
        or storage.nbytes() != tensor.nbytes
        or storage.data_ptr() == 0
        or storage.data_ptr() in seen
    ):
        return tensor.to("cpu", copy=True).contiguous()
    seen.add(storage.data_ptr())
    return tensor
