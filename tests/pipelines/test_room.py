"""Room on the disk is asked for before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.generate import generate
from insituml_pipelines.stream import SECTIONS, plan

STREAM = ["experiment=toy8", "tracking=none", "model.hidden_sizes=[6]", "training.seeds=[0]"]


@pytest.fixture
def full_disk(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))


def test_samples_are_not_begun_where_they_do_not_fit(full_disk, tools, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"generate: the samples takes .* only 0.0001 MB are free"):
        generate(tools.points_data(), tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []


def test_a_stream_is_not_begun_where_what_it_holds_out_does_not_fit(
    full_disk, tools, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"stream: what is held out takes .* MB are free"):
        plan(tools.invoke(tmp_path, SECTIONS, *STREAM))
    assert list(tmp_path.iterdir()) == []
