"""Results are replaced when the new ones are whole, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.output import new_folder


def test_the_old_stays_until_the_new_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.mkdir()
    (target / "old").touch()
    with new_folder(target) as made:
        (made / "new").touch()
        assert [f.name for f in target.iterdir()] == ["old"]
    assert [f.name for f in target.iterdir()] == ["new"]
    assert [f.name for f in tmp_path.iterdir()] == ["results"]


def test_a_failure_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(KeyError), new_folder(target) as made:  # noqa: PT012
        (made / "new").touch()
        raise KeyError
    assert [f.name for f in target.iterdir()] == ["old"]
    assert [f.name for f in tmp_path.iterdir()] == ["results"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / ".results.old").mkdir()
    (tmp_path / ".results.old" / "old").touch()
    with pytest.raises(KeyError), new_folder(tmp_path / "results"):
        raise KeyError
    assert [f.name for f in (tmp_path / "results").iterdir()] == ["old"]


def test_what_a_killed_process_left_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / ".results.new").mkdir()
    (tmp_path / ".results.new" / "half").touch()
    with new_folder(tmp_path / "results") as made:
        assert list(made.iterdir()) == []
    assert [f.name for f in tmp_path.iterdir()] == ["results"]
