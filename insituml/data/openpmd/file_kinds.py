"""What a file must be before the libraries behind openPMD-api are let near it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

BP_ENDINGS = (".bp", ".bp4", ".bp5")
ENDINGS = (".h5", *BP_ENDINGS, ".json", ".toml")
"""Of openPMD's files."""
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def check_file(path: Path) -> None:
    """Refuse what cannot be read, in words that the libraries do not have.

    Raises
    ------
    OSError
        If there is no such file, it may not be read, is empty, or of another kind than its ending
        says.
    ValueError
        If its ending is none of openPMD's.
    """
    if path.suffix not in ENDINGS and not path.is_dir():
        raise ValueError(f"{path} is no openPMD file; expected one that ends in {_endings()}")
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path} is a link to {path.readlink()}, which does not exist")
    kind = path.stat().st_mode
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path} may not be read; change its permissions")
    if stat.S_ISDIR(kind):
        _check_folder(path)
    elif not stat.S_ISREG(kind):
        raise OSError(f"{path} is neither a file nor a folder")
    elif path.stat().st_size == 0:
        raise OSError(f"{path} is empty; was its writer interrupted?")
    elif path.suffix == ".h5":
        _check_hdf5(path)


def _check_folder(path: Path) -> None:
    if path.suffix not in BP_ENDINGS and not (path / "md.idx").exists():
        raise IsADirectoryError(f"{path} is a folder; expected a file")
    for name in ("md.idx", "md.0", "data.0"):
        file = path / name
        if not file.is_file():
            raise OSError(f"{path} lacks {name}; was its writer interrupted, or the copy?")
        if not os.access(file, os.R_OK):
            raise PermissionError(f"{file} may not be read; change its permissions")
    if (path / "md.0").stat().st_size == 0 or (path / "md.idx").stat().st_size <= 64:
        raise OSError(f"{path} holds no finished iteration; was its writer interrupted?")


def _check_hdf5(path: Path) -> None:
    """Look for the signature at the beginning, or after a user block of 512, 1024, ... bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place < size:
            file.seek(place)
            if file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
                return
            place = max(512, 2 * place)
    raise OSError(f"{path} is no HDF5 file, or its writer was interrupted")


def _endings() -> str:
    return ", ".join(ENDINGS)
