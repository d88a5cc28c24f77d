"""What a file may hold: plain values, and no more of them than it has bytes for."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import torch

_ATOMS = (type(None), bool, int, float, complex, str, torch.dtype, torch.device, torch.Size)
_DEEPEST = 100


def check_no_larger(content: bytes) -> None:
    """Refuse an archive whose entries are larger than the archive.

    Raises
    ------
    ValueError
        If an entry is compressed, or all together are larger; and as ``zipfile`` does.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("an entry of the archive is compressed")
    size = sum(entry.file_size for entry in entries)
    if size > len(content):
        raise ValueError(f"its entries take {size} bytes, the file has {len(content)}")


def check_plain(state: Any, size: int) -> None:
    """Refuse what ``write_verified`` does not write.

    Parameters
    ----------
    state
        What was read; expected a dictionary.
    size
        Bytes of the file, which all tensors together cannot exceed.

    Raises
    ------
    ValueError
        If there is anything else, or a tensor shows more numbers than are stored.
    """
    if type(state) is not dict:
        raise ValueError(f"it holds a {type(state).__name__}, no dictionary")
    taken = 0
    waiting: list[tuple[Any, int]] = [(state, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"values are nested more than {_DEEPEST} deep")
        if type(value) is torch.Tensor:
            taken += _stored_bytes(value)
            if taken > size:
                raise ValueError(f"its tensors take more than the {size} bytes of the file")
        elif type(value) is dict:
            waiting += [(item, depth + 1) for pair in value.items() for item in pair]
        elif type(value) in (list, tuple):
            waiting += [(item, depth + 1) for item in value]
        elif type(value) not in _ATOMS:
            raise ValueError(f"it holds a {type(value).__name__}")


def _stored_bytes(tensor: torch.Tensor) -> int:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise ValueError(f"a tensor is {tensor.layout} on {tensor.device}; expected plain numbers")
    needed = tensor.numel() * tensor.element_size()
    if not tensor.is_contiguous() or needed > tensor.untyped_storage().nbytes():
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} shows numbers twice")
    return needed
