"""Files are whole or absent."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from insituml.atomic_file import UNFINISHED, clear_unfinished, write_atomically, write_json


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


def test_what_killed_writers_left_is_cleared_by_the_next_of_any_file_there(tmp_path: Path) -> None:
    left = tmp_path / f".other.json.abcdefgh{UNFINISHED}"
    left.write_bytes(b"half")
    mine = [tmp_path / ".file.abcdefgh", tmp_path / f"notes{UNFINISHED}"]
    for file in mine:
        file.touch()
    with left.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # as who is writing it does
        path = write_atomically(tmp_path / "file", b"x")
        assert left.read_bytes() == b"half"
    write_atomically(path, b"y")
    assert sorted(tmp_path.iterdir()) == sorted([path, *mine])


def test_a_file_that_is_cleared_before_it_is_locked_is_made_again(tmp_path: Path) -> None:
    made, real = [], tempfile.mkstemp

    def slow(**how):
        descriptor, name = real(**how)
        made.append(name)
        if len(made) == 1:
            clear_unfinished(tmp_path)
        return descriptor, name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "mkstemp", slow)
        assert write_atomically(tmp_path / "file", b"x").read_bytes() == b"x"
    assert len(made) == 2
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_written_whole_is_locked_until_it_has_its_name(
    tmp_path: Path, monkeypatch
) -> None:
    real = Path.replace

    def another_command_begins(self, target):
        clear_unfinished(tmp_path)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", another_command_begins)
    assert write_atomically(tmp_path / "file", b"x").read_bytes() == b"x"


def test_a_killed_process_leaves_no_more_than_the_next_clears(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from insituml.atomic_file import write_json\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_json(sys.argv[1], [1])"
    )
    file = tmp_path / "versions.json"
    subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    write_json(file, [2])
    assert [f.name for f in tmp_path.iterdir()] == ["versions.json"]
