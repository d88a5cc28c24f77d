"""Files are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from insituml.atomic_file import write_atomically


def test_makes_missing_folders(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "deep" / "er" / "file", b"content")
    assert path.read_bytes() == b"content"


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    path = write_atomically(tmp_path / "file", b"old")

    def full(descriptor) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch
) -> None:
    path = write_atomically(tmp_path / "file", b"old")

    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch) -> None:
    path, real = write_atomically(tmp_path / "file", b"old"), Path.replace
    seen = []

    def watched(self, target):
        seen.append((path.read_bytes(), self.read_bytes(), self.parent))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_atomically(path, b"new")
    assert seen == [(b"old", b"new", tmp_path)]
    assert path.read_bytes() == b"new"


def test_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    written = write_atomically(tmp_path / "file", b"x")
    assert written.stat().st_mode == ordinary.stat().st_mode
