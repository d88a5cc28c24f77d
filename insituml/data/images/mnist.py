"""MNIST and every image set published in its format (Fashion-MNIST, KMNIST): IDX files.

An IDX file is a big-endian header, two zero bytes, a byte for the type, a byte for the number of
dimensions and a 32-bit size for each, and then the values, the last dimension varying fastest
(LeCun, Cortes and Burges, *The MNIST database of handwritten digits*).
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np

from insituml.data.images.labelled_images import (
    ImagePart,
    LabelledImages,
    check_part,
    labelled_images,
)

PREFIXES = {"train": "train", "test": "t10k"}
UNSIGNED_BYTE = 0x08
GZIP = b"\x1f\x8b"


def read_mnist(
    folder: str | Path, part: ImagePart = "train", limit: int | None = None
) -> LabelledImages:
    """Read the training or the test files of MNIST, or of a set published in the same format.

    Parameters
    ----------
    folder
        Holds ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, for the test part
        ``t10k-...``; compressed (``.gz``, as published) or not.
    part
        ``"train"`` or ``"test"``.
    limit
        Keep the first so many images of each label; None: all.

    Returns
    -------
    LabelledImages
        Images ``(n, 1, height, width)`` float32 from 0 to 1, labels ``(n,)`` int64.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If a file is truncated or no IDX file of bytes, or the two do not belong together.
    """
    check_part(part)
    prefix = PREFIXES[part]
    images = read_idx(_find(Path(folder), f"{prefix}-images", 3), 3)
    labels = read_idx(_find(Path(folder), f"{prefix}-labels", 1), 1)
    return labelled_images(images[:, None], labels, limit)


def read_idx(path: str | Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, compressed with gzip or not, whatever its name.

    Parameters
    ----------
    path
        The file.
    dimensions
        How many the file must have: 3 for images, 1 for labels.

    Returns
    -------
    numpy.ndarray
        uint8, of the shape in the file's header.

    Raises
    ------
    ValueError
        If the magic number is another one, or the file is shorter or longer than its header says.
    """
    path = Path(path)
    with path.open("rb") as raw:
        compressed = raw.read(2) == GZIP
        raw.seek(0)
        try:
            if not compressed:
                return _parse(raw, path, dimensions)
            with gzip.open(raw, "rb") as file:
                return _parse(file, path, dimensions)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is damaged ({error}); it was cut off or changed on its way: fetch it again"
            ) from error


def _parse(file: io.BufferedIOBase, path: Path, dimensions: int) -> np.ndarray:
    magic, expected = file.read(4), bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if magic != expected:
        raise ValueError(
            f"{path} begins with the bytes {magic.hex(' ')}; an IDX file of unsigned bytes in "
            f"{dimensions} dimension(s) begins with {expected.hex(' ')} (magic number "
            f"{int.from_bytes(expected)}): is it the file that its name says?"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise ValueError(f"{path} ends within its header; fetch it again")
    shape = tuple(np.frombuffer(header, dtype=">u4").tolist())
    count = math.prod(shape)
    values = file.read()
    if len(values) != count:
        raise ValueError(
            f"{path} holds {len(values)} bytes after its header, which announces {shape}, {count} "
            "bytes; it was cut off or joined with another file: fetch it again"
        )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _find(folder: Path, name: str, dimensions: int) -> Path:
    """Return the file; some copies have a dot where the published name has its second dash."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder} (looked in {Path.cwd()}); give the folder that holds the four "
            "files of MNIST or Fashion-MNIST, such as train-images-idx3-ubyte.gz"
        )
    end = f"idx{dimensions}-ubyte"
    for candidate in (f"{name}-{end}", f"{name}.{end}", f"{name}-{end}.gz", f"{name}.{end}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise FileNotFoundError(
        f"no {name}-{end} or {name}-{end}.gz in {folder}; it holds "
        f"{sorted(file.name for file in folder.iterdir())[:6] or 'nothing'}. MNIST and "
        "Fashion-MNIST are published as four such files: train-images, train-labels, t10k-images, "
        "t10k-labels; put all of them there"
    )
