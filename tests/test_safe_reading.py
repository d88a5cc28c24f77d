"""What is no file of numbers or plain values is named, and neither opened nor waited for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from insituml.safe_reading import DamagedFileError, digest_of, map_npy, read_bytes, read_json


def put(path: Path, kind: str) -> None:
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "circle":
            path.symlink_to(path)
        case "link to nothing":
            path.symlink_to(path.with_name("nothing"))
        case "device":
            path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["folder", "pipe", "circle", "link to nothing", "device"])
@pytest.mark.parametrize("read", [read_bytes, read_json, map_npy, digest_of])
def test_what_is_no_file(kind, read, tmp_path: Path) -> None:
    put(tmp_path / "x", kind)
    with pytest.raises(DamagedFileError, match=f"{tmp_path}/x "):
        read(tmp_path / "x")


@pytest.mark.parametrize("read", [read_bytes, read_json, map_npy, digest_of])
def test_what_is_missing(read, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "x")


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3), np.zeros((0, 4)), np.float32(3), np.asfortranarray([[1, 2]])],
    ids=["matrix", "empty", "number", "Fortran"],
)
def test_arrays_come_as_they_were(array, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    found = map_npy(tmp_path / "x.npy")
    assert found.dtype == np.asarray(array).dtype
    np.testing.assert_array_equal(found, array)


def damaged(path: Path, kind: str) -> None:
    np.save(path, np.arange(12.0))
    content = path.read_bytes()
    head = b"\x93NUMPY\x01\x00\x76\x00"
    changed = {
        "empty": b"",
        "text": b"hello\n",
        "cut short": content[:-8],
        "longer": content + b"\0",
        "head alone": content[:20],
        "zeros": bytes(len(content)),
        "version": b"\x93NUMPY\x09" + content[7:],
        "code": head + b"__import__('os').system('true')".ljust(0x76),
        "negative": content.replace(b"(12,), ", b"(-12,),"),
        "huge": content.replace(b"(12,), }      ", b"(12000000,), }"),
        "dtype": content.replace(b"<f8", b"<q9"),
    }
    path.write_bytes(changed[kind])


KINDS = "empty, text, cut short, longer, head alone, zeros, version, code, negative, huge, dtype"


@pytest.mark.parametrize("kind", KINDS.split(", "))
def test_damaged_arrays_are_named(kind, tmp_path: Path) -> None:
    damaged(tmp_path / "x.npy", kind)
    with pytest.raises(DamagedFileError, match=r"x\.npy is damaged") as caught:
        map_npy(tmp_path / "x.npy")
    assert "\n" not in str(caught.value)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedFileError, match="Python objects"):
        map_npy(tmp_path / "x.npy")
