"""CIFAR's two formats, from folders and archives: read back bit by bit, and what is refused."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from insituml.data.images.cifar import read_cifar10, read_cifar100
from insituml.data.images.restricted_pickle import RefusedPickleError

RNG = np.random.default_rng(2)
COUNTS = {"data_batch_1": 4, "data_batch_2": 3, "data_batch_3": 1, "data_batch_4": 2}
COUNTS |= {"data_batch_5": 2, "test_batch": 5}
PIXELS = {name: RNG.integers(0, 256, (n, 3072)).astype(np.uint8) for name, n in COUNTS.items()}
LABELS = {name: RNG.integers(0, 10, n) for name, n in COUNTS.items()}
FINE = {"train": RNG.integers(0, 100, 6), "test": np.array([99, 0, 42])}
COARSE = {"train": RNG.integers(0, 20, 6), "test": np.array([19, 3, 3])}
IMAGES = {part: RNG.integers(0, 256, (len(FINE[part]), 3072)).astype(np.uint8) for part in FINE}
TRAIN = [f"data_batch_{k}" for k in range(1, 6)]


def dumps(protocol: int):
    return lambda value: pickle.dumps(value, protocol)


def cifar10(published: Any, version: str) -> dict[str, bytes]:
    if version == "binary":
        return {f"{n}.bin": published.cifar_binary(PIXELS[n], LABELS[n]) for n in reversed(COUNTS)}
    dump = published.python_two if version == "python 2" else dumps(int(version[-1]))
    return {n: published.cifar_pickle(PIXELS[n], dump, labels=LABELS[n]) for n in COUNTS}


def cifar100(published: Any, version: str) -> dict[str, bytes]:
    if version == "binary":
        return {f"{p}.bin": published.cifar_binary(IMAGES[p], COARSE[p], FINE[p]) for p in IMAGES}
    return {
        p: published.cifar_pickle(
            IMAGES[p], published.python_two, fine_labels=FINE[p], coarse_labels=COARSE[p]
        )
        for p in IMAGES
    }


VERSIONS = ["binary", "python 2", "protocol 2", "protocol 4"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", ["folder", "folder above", "archive", "archive above"])
def test_cifar10_comes_back(place, version, published, tmp_path: Path) -> None:
    files = cifar10(published, version)
    kind = ("bin", "binary") if version == "binary" else ("py", "python")
    folder, archive = f"cifar-10-batches-{kind[0]}", f"cifar-10-{kind[1]}.tar.gz"
    if "folder" in place:
        path = published.write_files(tmp_path / folder, files)
    else:
        path = published.write_archive(tmp_path / archive, folder, files)
    path = tmp_path if "above" in place else path
    for part, names in {"train": TRAIN, "test": ["test_batch"]}.items():
        images, labels = read_cifar10(str(path), part)  # type: ignore[arg-type]
        pixels = np.concatenate([PIXELS[name] for name in names]).reshape(-1, 3, 32, 32)
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(images, pixels.astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(labels, np.concatenate([LABELS[name] for name in names]))
    if "archive" in place:  # stays packed
        assert [file.name for file in tmp_path.iterdir()] == [archive]


@pytest.mark.parametrize("version", ["binary", "python 2"])
def test_cifar100_has_two_kinds_of_labels(version, published, tmp_path) -> None:
    path = published.write_files(tmp_path, cifar100(published, version))
    for part in ("train", "test"):
        for kind, expected in (("fine", FINE), ("coarse", COARSE)):
            images, labels = read_cifar100(path, part, kind)  # type: ignore[arg-type]
            np.testing.assert_array_equal(labels, expected[part])
            np.testing.assert_array_equal(np.round(images * 255).reshape(-1, 3072), IMAGES[part])
    assert read_cifar100(path, "test", "coarse", limit=1).labels.tolist() == [19, 3]
    with pytest.raises(ValueError, match="labels is 'rough'; CIFAR-100 has 'fine' and 'coarse'"):
        read_cifar100(path, labels="rough")  # type: ignore[arg-type]


def test_red_comes_first_then_rows(published, tmp_path) -> None:
    pixels = np.zeros((1, 3072), np.uint8)
    pixels[0, 1024 + 32 * 2 + 5] = 255  # green, row 2, column 5
    files = {"train.bin": published.cifar_binary(pixels, np.array([0]), np.array([0]))}
    (image,), _ = read_cifar100(published.write_files(tmp_path, files))
    assert np.argwhere(image).tolist() == [[1, 2, 5]]


class Malicious:
    """Makes a folder when it is unpickled by a trusting reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_a_malicious_pickle_is_refused_unrun(published, tmp_path) -> None:
    trace = tmp_path / "trace"
    content = pickle.dumps({b"data": Malicious(trace)}, 2)
    pickle.loads(content)
    assert trace.exists()  # it does run elsewhere
    trace.rmdir()
    published.write_files(tmp_path, {**cifar10(published, "python 2"), "data_batch_3": content})
    with pytest.raises(RefusedPickleError, match=r"data_batch_3 of CIFAR-10 .*asks for \w+\.mkdir"):
        read_cifar10(tmp_path)
    assert not trace.exists()


def test_missing_files(published, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.*of CIFAR-10: cifar-10-batches-bin or"):
        read_cifar10(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds nothing; expected all of train\.bin or tr"):
        read_cifar100(tmp_path)
    files = cifar10(published, "binary")
    del files["data_batch_4.bin"]
    published.write_files(tmp_path, files)
    expected = r"holds \['data_batch_1.bin', .*expected all of data_batch_1.bin, .*CIFAR-10 is pub"
    with pytest.raises(FileNotFoundError, match=expected):
        read_cifar10(tmp_path)
    assert len(read_cifar10(tmp_path, "test").labels) == 5
    archive = published.write_archive(tmp_path / "other.tar.gz", "folder", files)
    with pytest.raises(FileNotFoundError, match=r"other\.tar\.gz holds other files"):
        read_cifar10(archive)


@pytest.mark.parametrize("cut", [50, 2000, 20000])
def test_damaged_archives(cut: int, published, tmp_path) -> None:
    whole = published.write_archive(tmp_path / "a.tar.gz", "a", cifar10(published, "binary"))
    whole.write_bytes(whole.read_bytes()[:-cut])
    with pytest.raises(ValueError, match=r"a\.tar\.gz is no whole tar archive"):
        read_cifar10(whole)
    (tmp_path / "page.tar.gz").write_bytes(gzip.compress(b"<html>not found</html>"))
    with pytest.raises(ValueError, match="is no whole tar archive"):
        read_cifar10(tmp_path / "page.tar.gz")


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda good: good[:-1], "12291 bytes are not a whole number of images of 3073 bytes"),
        (lambda good: b"", "0 bytes are not a whole number"),
        (lambda good: b"\x0a" + good[1:], "class labels run from .* to 10; expected 0 to 9"),
    ],
)
def test_damaged_binary_files(change, expected, published, tmp_path) -> None:
    files = cifar10(published, "binary")
    files["data_batch_1.bin"] = change(files["data_batch_1.bin"])
    published.write_files(tmp_path, files)
    with pytest.raises(ValueError, match=rf"data_batch_1\.bin of CIFAR-10 in .*{expected}"):
        read_cifar10(tmp_path)


@pytest.mark.parametrize(
    "batch, expected",
    [
        ({b"data": PIXELS["test_batch"]}, r"has no b'labels', but \[\"b'data'\"\]"),
        ([1, 2], r"has no b'data', but list"),
        ({b"data": [[1, 2]], b"labels": [1]}, r"pixels are int64 of shape \(1, 2\)"),
        ({b"data": PIXELS["test_batch"][:, 1:], b"labels": [1] * 5}, r"expected bytes of \(n, 30"),
        ({b"data": PIXELS["test_batch"], b"labels": [1] * 4}, "for each of 5 images"),
        ({b"data": PIXELS["test_batch"], b"labels": [1.5] * 5}, "class labels are float64"),
        ({b"data": PIXELS["test_batch"], b"labels": [-1] * 5}, "run from -1 to -1"),
        ({b"data": PIXELS["test_batch"].astype(float)}, "expected unsigned bytes, 'u1'"),
    ],
)
def test_pickles_of_something_else(batch, expected, published, tmp_path) -> None:
    published.write_files(tmp_path, {"test_batch": published.python_two(batch)})
    with pytest.raises(ValueError, match=expected):
        read_cifar10(tmp_path, "test")
