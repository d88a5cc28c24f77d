"""Writers of image sets in the formats in which they are published."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest


def idx(values: np.ndarray) -> bytes:
    """Return unsigned bytes as an IDX file."""
    head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


def write_mnist(
    folder: Path,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    compress: bool = True,
) -> None:
    """Write the four files of MNIST; images ``(n, h, w)``, labels ``(n,)``."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, (images, labels) in {"train": train, "t10k": test}.items():
        for name, values in {"images-idx3": images, "labels-idx1": labels}.items():
            content = idx(values)
            file = folder / f"{prefix}-{name}-ubyte{'.gz' * compress}"
            file.write_bytes(gzip.compress(content) if compress else content)


class _PythonTwo(pickle._Pickler):  # type: ignore[name-defined]
    """Pickle as Python 2 did: text and bytes are both its ``str``."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        if len(content) < 256:
            self.write(b"U" + bytes([len(content)]) + content)
        else:
            self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def python_two(value: Any) -> bytes:
    """Return a pickle as the Python versions of CIFAR hold it: protocol 2, written by Python 2."""
    file = io.BytesIO()
    _PythonTwo(file, protocol=2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar_binary(pixels: np.ndarray, *labels: np.ndarray) -> bytes:
    """Return rows of label bytes and pixels ``(n, 3072)``."""
    return np.column_stack([*labels, pixels]).astype(np.uint8).tobytes()


def cifar_pickle(pixels: np.ndarray, dump: Callable[[Any], bytes], **labels: np.ndarray) -> bytes:
    """Return a batch of the Python version; ``labels`` by their published keys."""
    batch: dict[bytes, Any] = {key.encode(): value.tolist() for key, value in labels.items()}
    batch |= {b"data": pixels, b"batch_label": b"a batch"}
    batch[b"filenames"] = [b"image_%d.png" % k for k in range(len(pixels))]
    return dump(batch)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_archive(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    """Write a ``.tar.gz`` as published: one folder, the files in it, and a page beside them."""
    with tarfile.open(path, "w:gz") as tar:
        top = tarfile.TarInfo(folder)
        top.type = tarfile.DIRTYPE
        tar.addfile(top)
        for name, content in {**files, "readme.html": b"<html>"}.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_image_sets(folder: Path) -> None:
    """Write MNIST, CIFAR-10 and CIFAR-100 with two images of each label in each part."""
    rng = np.random.default_rng(0)
    ten, hundred = np.arange(20) // 2, np.arange(200) // 2
    digits = rng.integers(0, 256, (20, 28, 28))
    write_mnist(folder, (digits, ten), (digits, ten))
    pixels = rng.integers(0, 256, (200, 3072)).astype(np.uint8)
    batch = cifar_binary(pixels[:20], ten)
    names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    write_files(folder, dict.fromkeys(names, batch))
    batch = cifar_binary(pixels, hundred // 5, hundred)
    write_files(folder, dict.fromkeys(["train.bin", "test.bin"], batch))


@pytest.fixture(scope="session")
def published() -> Any:
    """The functions of this file, for test modules: they cannot import it."""
    return SimpleNamespace(
        idx=idx,
        write_mnist=write_mnist,
        python_two=python_two,
        cifar_binary=cifar_binary,
        cifar_pickle=cifar_pickle,
        write_files=write_files,
        write_archive=write_archive,
        write_image_sets=write_image_sets,
    )
