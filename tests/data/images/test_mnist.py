"""MNIST's format: read back bit by bit, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from insituml.data.images.labelled_images import first_of_each_label
from insituml.data.images.mnist import read_idx, read_mnist

RNG = np.random.default_rng(1)
TRAIN = (RNG.integers(0, 256, (11, 5, 4)), np.array([3, 1, 3, 3, 0, 1, 9, 3, 0, 1, 1]))
TEST = (RNG.integers(0, 256, (3, 5, 4)), np.array([9, 0, 3]))


@pytest.fixture(params=[True, False], ids=["gz", "plain"])
def folder(request, published, tmp_path: Path) -> Path:
    published.write_mnist(tmp_path, TRAIN, TEST, compress=request.param)
    return tmp_path


@pytest.mark.parametrize("part, written", [("train", TRAIN), ("test", TEST)])
def test_bytes_come_back_as_parts_of_one(folder: Path, part, written) -> None:
    images, labels = read_mnist(folder, part)
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images[:, 0], written[0].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(np.round(images[:, 0] * 255), written[0])
    np.testing.assert_array_equal(labels, written[1])
    assert images.shape == (len(labels), 1, 5, 4)


def test_the_header_is_that_of_the_published_files(published) -> None:
    """The numbers of the format's own page: 0x00000803, 60000, 28, 28 and 0x00000801, 60000."""
    head = bytes.fromhex("00000803 0000ea60 0000001c 0000001c")
    assert published.idx(np.broadcast_to(np.uint8(0), (60000, 28, 28)))[:16] == head
    assert published.idx(np.zeros(60000))[:8] == bytes.fromhex("00000801 0000ea60")


def test_a_limit_keeps_the_first_of_each_label(folder: Path) -> None:
    images, labels = read_mnist(folder, limit=2)
    rows = [0, 1, 2, 4, 5, 6, 8]
    np.testing.assert_array_equal(labels, TRAIN[1][rows])
    np.testing.assert_array_equal(np.round(images[:, 0] * 255), TRAIN[0][rows])
    assert len(read_mnist(folder, limit=100).labels) == 11
    assert first_of_each_label(np.array([], dtype=np.int64), 1).tolist() == []
    with pytest.raises(ValueError, match="limit is 0; expected 1 or more"):
        read_mnist(folder, limit=0)


def test_names_with_a_dot_and_compressed_files_without_the_ending(published, tmp_path) -> None:
    published.write_mnist(tmp_path, TRAIN, TEST, compress=True)
    for kind in ("images-idx3", "labels-idx1"):
        file = tmp_path / f"train-{kind}-ubyte.gz"
        file.rename(tmp_path / f"train-{kind.replace('-', '.')}-ubyte")
    np.testing.assert_array_equal(read_mnist(tmp_path).labels, TRAIN[1])


def test_missing_files_name_the_folder_and_the_set(folder: Path) -> None:
    for file in folder.glob("t10k-labels*"):
        file.unlink()
    expected = r"no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte\.gz in .*MNIST and Fashion"
    with pytest.raises(FileNotFoundError, match=expected):
        read_mnist(folder, "test")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*the four files of MNIST"):
        read_mnist(folder / "nowhere")
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="it holds nothing"):
        read_mnist(folder / "empty")
    with pytest.raises(ValueError, match="part is 'valid'; expected 'train' or 'test'"):
        read_mnist(folder, "valid")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content, expected",
    [
        (lambda good: b"\x00\x00\x08\x01" + good[4:], r"begins with the bytes 00 00 08 01.*\(mag"),
        (lambda good: b"\x00\x00\x0d\x03" + good[4:], "IDX file of unsigned bytes in 3"),
        (lambda good: b"", "begins with the bytes ;"),
        (lambda good: good[:9], "ends within its header"),
        (lambda good: good[:-1], r"holds 219 bytes after its header.*\(11, 5, 4\), 220 bytes"),
        (lambda good: good + b"x", "holds 221 bytes after its header"),
        (lambda good: good[:4] + b"\xff" * 12 + good[16:], "holds 220 bytes after its header"),
        (lambda good: gzip.compress(good)[:-9], "is damaged"),
        (lambda good: gzip.compress(good)[:40] + b"\x00" * 60, "is damaged"),
        (lambda good: gzip.compress(good)[:-6] + b"\x00" * 6, "is damaged"),
        (lambda good: gzip.compress(good[:-1]), "holds 219 bytes"),
    ],
)
def test_damaged_files(content, expected, published, tmp_path) -> None:
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(content(published.idx(TRAIN[0])))
    with pytest.raises(ValueError, match=expected) as caught:
        read_idx(file, 3)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_and_labels_of_different_sets(published, tmp_path) -> None:
    published.write_mnist(tmp_path, (TRAIN[0], TEST[1]), TEST)
    with pytest.raises(ValueError, match="11 images and 3 labels arrived"):
        read_mnist(tmp_path)
