"""CIFAR-10 and CIFAR-100, in both formats in which they are published.

Krizhevsky, *Learning Multiple Layers of Features from Tiny Images* (2009). The binary version is
rows of label bytes and 3072 pixels, red, green and blue planes of 32×32; the Python version is
pickled dictionaries of the same rows. CIFAR-100 has two labels an image: 100 fine ones, and the 20
coarse super-classes that group them by fives.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from insituml.data.images.archive import find_files
from insituml.data.images.labelled_images import (
    ImagePart,
    LabelledImages,
    check_part,
    labelled_images,
)
from insituml.data.images.restricted_pickle import load_plain

SHAPE = (3, 32, 32)
PIXELS = 3072

LabelKind = Literal["fine", "coarse"]
Rows = dict[str, np.ndarray]
"""Column ``pixels`` ``(n, 3072)`` uint8, and a column ``(n,)`` for each kind of label."""


@dataclass(frozen=True)
class _Labels:
    """One kind of label: its name in the Python version, and how many different ones there are."""

    key: bytes
    count: int


@dataclass(frozen=True)
class _ImageSet:
    """How one of the two sets is published; labels stand in the order of the binary version."""

    name: str
    labels: dict[str, _Labels]
    binary: dict[str, list[str]]
    python: dict[str, list[str]]
    folders: tuple[str, ...]
    archives: tuple[str, ...]


_CIFAR10 = _ImageSet(
    name="CIFAR-10",
    labels={"class": _Labels(b"labels", 10)},
    binary={"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]},
    python={"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]},
    folders=("cifar-10-batches-bin", "cifar-10-batches-py"),
    archives=("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"),
)
_CIFAR100 = _ImageSet(
    name="CIFAR-100",
    labels={"coarse": _Labels(b"coarse_labels", 20), "fine": _Labels(b"fine_labels", 100)},
    binary={"train": ["train.bin"], "test": ["test.bin"]},
    python={"train": ["train"], "test": ["test"]},
    folders=("cifar-100-binary", "cifar-100-python"),
    archives=("cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"),
)


def read_cifar10(
    path: str | Path, part: ImagePart = "train", limit: int | None = None
) -> LabelledImages:
    """Read the training or the test files of CIFAR-10.

    Parameters
    ----------
    path
        The extracted folder (``cifar-10-batches-bin`` or ``cifar-10-batches-py``), the published
        ``.tar.gz``, which is read as it is, or a folder that holds one of these.
    part
        ``"train"``: the five batches in order; or ``"test"``.
    limit
        Keep the first so many images of each label; None: all.

    Returns
    -------
    LabelledImages
        Images ``(n, 3, 32, 32)`` float32 from 0 to 1, labels ``(n,)`` int64 from 0 to 9.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If a file is truncated, is none of CIFAR-10's, or is a pickle that holds anything but data.
    """
    return _read(_CIFAR10, path, part, "class", limit)


def read_cifar100(
    path: str | Path,
    part: ImagePart = "train",
    labels: LabelKind = "fine",
    limit: int | None = None,
) -> LabelledImages:
    """Read the training or the test file of CIFAR-100.

    Parameters
    ----------
    path
        As for :func:`read_cifar10`: ``cifar-100-binary``, ``cifar-100-python``, or an archive.
    part, limit
        As for :func:`read_cifar10`; the limit counts labels of the kind that is asked for.
    labels
        ``"fine"``: 100 classes; ``"coarse"``: 20 super-classes of five classes each.

    Returns
    -------
    LabelledImages
        Images ``(n, 3, 32, 32)`` float32 from 0 to 1, labels ``(n,)`` int64 in alphabetical order
        of the published names.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`read_cifar10`; a ValueError also for an unknown kind of label.
    """
    if labels not in _CIFAR100.labels:
        raise ValueError(f"labels is {labels!r}; CIFAR-100 has 'fine' and 'coarse' labels")
    return _read(_CIFAR100, path, part, labels, limit)


def _read(
    images: _ImageSet, path: str | Path, part: ImagePart, labels: str, limit: int | None
) -> LabelledImages:
    check_part(part)
    versions: list[tuple[list[str], Callable[[bytes, _ImageSet], Rows]]] = [
        (images.binary[part], _parse_binary),
        (images.python[part], _parse_pickle),
    ]
    names, contents = find_files(
        Path(path), [names for names, _ in versions], images.folders, images.archives, images.name
    )
    parse = {wanted[0]: parse for wanted, parse in versions}[names[0]]
    batches = []
    for name, content in zip(names, contents, strict=True):
        try:
            rows = parse(content, images)
            _check(rows, images)
        except ValueError as error:
            raise type(error)(f"{name} of {images.name} in {path}: {error}") from error
        batches.append(rows)
    pixels = np.concatenate([rows["pixels"] for rows in batches]).reshape(-1, *SHAPE)
    return labelled_images(pixels, np.concatenate([rows[labels] for rows in batches]), limit)


def _parse_binary(content: bytes, images: _ImageSet) -> Rows:
    length = len(images.labels) + PIXELS
    if not content or len(content) % length:
        raise ValueError(
            f"{len(content)} bytes are not a whole number of images of {length} bytes each; the "
            "file was cut off, or is of another set: fetch it again"
        )
    table = np.frombuffer(content, np.uint8).reshape(-1, length)
    columns = {kind: table[:, k] for k, kind in enumerate(images.labels)}
    return {**columns, "pixels": table[:, len(images.labels) :]}


def _parse_pickle(content: bytes, images: _ImageSet) -> Rows:
    batch = load_plain(io.BytesIO(content))
    wanted = [b"data", *(labels.key for labels in images.labels.values())]
    missing = [key for key in wanted if not isinstance(batch, dict) or key not in batch]
    if missing:
        held = sorted(map(str, batch)) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(f"the pickle has no {missing[0]!r}, but {held}; is it of another set?")
    columns = {kind: np.asarray(batch[labels.key]) for kind, labels in images.labels.items()}
    return {**columns, "pixels": np.asarray(batch[b"data"])}


def _check(rows: Rows, images: _ImageSet) -> None:
    pixels = rows["pixels"]
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise ValueError(
            f"pixels are {pixels.dtype} of shape {pixels.shape}; expected bytes of (n, {PIXELS})"
        )
    for kind, labels in images.labels.items():
        values = rows[kind]
        if values.shape != (len(pixels),) or values.dtype.kind not in "iu":
            raise ValueError(
                f"{kind} labels are {values.dtype} of shape {values.shape}; expected a whole "
                f"number for each of {len(pixels)} images"
            )
        if len(values) and not 0 <= values.min() <= values.max() < labels.count:
            raise ValueError(
                f"{kind} labels run from {values.min()} to {values.max()}; expected 0 to "
                f"{labels.count - 1}: the file is damaged, or is of another set"
            )
