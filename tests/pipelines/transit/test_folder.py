"""Results of a stream go to a folder of its own, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.transit.folder import stream_folder

GOOD = ["transit", "a/b", "ümläut mit blank", "old", "v0.2"]
BAD = [
    ("", "names no folder"),
    (" ", "names no folder"),
    (".", "names no folder"),
    ("./", "names no folder"),
    ("..", "out of the working directory"),
    ("../outside", "out of the working directory"),
    ("a/../../outside", "out of the working directory"),
    ("/", "out of the working directory"),
    ("/tmp/x", "out of the working directory"),
    ("~/x", "out of the working directory"),
    ("data", "data is not the stream's"),
    ("./data/raw", "data is not the stream's"),
    ("runs", "runs is not the stream's"),
    ("results/x", "results is not the stream's"),
    (".git", ".git is not the stream's"),
    (".partial/x", ".partial is not the stream's"),
    ("a\nb", "cannot be printed"),
    ("a\0b", "cannot be printed"),
    ("x" * 256, "more than 255 bytes"),
    ("ü" * 130, "more than 255 bytes"),
    ("file", "is no folder"),
    ("file/x", "is no folder"),
    ("full", "holds thesis.tex"),
    ("loop", "is no folder"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").touch()
    (tmp_path / "old/runs").mkdir(parents=True)
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("name", GOOD)
def test_a_folder_of_its_own_is_taken(name, root) -> None:
    assert stream_folder(root, name) == root / name


@pytest.mark.parametrize("name, reason", BAD)
def test_any_other_is_refused_in_one_line(name, reason, root) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(UserError, match=reason) as caught:
        stream_folder(root, name)
    assert "\n" not in str(caught.value)
    assert "give a new folder" in str(caught.value)
    assert sorted(root.rglob("*")) == before
