"""Results are replaced when the new ones are whole, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.locking import held
from insituml_pipelines.common.output import discard, new_folder, new_folders


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


def dead_lock(file: Path) -> None:
    file.write_text('{"pid": 1, "since": "2026-01-01 00:00:00", "command": "python"}')


def test_what_a_killed_process_left_of_other_results_is_cleared_away_too(tmp_path: Path) -> None:
    for name in (".a.new", ".b.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    dead_lock(tmp_path / ".a.lock")
    dead_lock(tmp_path / ".b.lock")
    for name in (".mine.old", ".mine.lock", ".bashrc.new"):  # nobody's but the user's
        (tmp_path / name).touch()
    with new_folder(tmp_path / "c"):
        pass
    left = {"b", "c", ".mine.old", ".mine.lock", ".bashrc.new"}
    assert {f.name for f in tmp_path.iterdir()} == left
    assert (tmp_path / "b" / "x").exists()


def test_two_that_make_the_same_collide_in_words(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a") as made:
        again = new_folder(tmp_path / "a")
        with pytest.raises(UserError, match="a is being written by process"), again:
            pass
        with new_folder(tmp_path / "b"):  # another one is no matter
            pass
        (made / "x").touch()
    assert {f.name for f in tmp_path.iterdir()} == {"a", "b"}
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["x"]
    with held(tmp_path / ".c.lock", "c"), new_folder(tmp_path / "a"):  # alive: left alone
        assert (tmp_path / ".c.lock").exists()


def test_a_file_in_the_place_of_a_folder_is_said_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(UserError, match="a is a file"), new_folder(tmp_path / "a"):
        pass
    with pytest.raises(UserError, match="a is a file"), new_folder(tmp_path / "a/b"):
        pass
    assert (tmp_path / "a").read_text() == "mine"
    assert [f.name for f in tmp_path.iterdir()] == ["a"]


def test_discarding_leaves_nothing(tmp_path: Path) -> None:
    for name in ("a", ".a.old"):
        (tmp_path / name / "b").mkdir(parents=True)
    discard(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_several_are_replaced_all_or_none(tmp_path: Path, monkeypatch) -> None:
    targets = [tmp_path / "results", tmp_path / "figures"]
    for target in targets:
        target.mkdir()
        (target / "old").touch()
    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if self.name == ".figures.new":
            raise PermissionError(1, "Operation not permitted", str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(PermissionError), new_folders(*targets) as made:  # noqa: PT012
        for folder in made:
            (folder / "new").touch()
    assert [[f.name for f in target.iterdir()] for target in targets] == [["old"], ["old"]]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["figures", "results"]


def test_folders_above_go_again_unless_others_use_them(tmp_path: Path) -> None:
    with pytest.raises(KeyError), new_folder(tmp_path / "a/b/c"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), new_folder(tmp_path / "a/b/c"):  # noqa: PT012
        (tmp_path / "a/other").mkdir()
        raise KeyError
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["other"]


@pytest.mark.parametrize("in_the_way", ["results", ""])
def test_what_is_in_the_way_is_named_first(in_the_way, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if in_the_way:
        root.mkdir()
    (root / in_the_way).touch()
    expected = pytest.raises(UserError, match="is a file, where a folder was expected")
    with expected, new_folder(root / "results"):
        raise AssertionError("nothing is made")
    assert (root / in_the_way).is_file()


def test_a_linked_folder_is_replaced_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "scratch")
    with new_folder(tmp_path / "results") as made:
        (made / "new").touch()
    assert (tmp_path / "results").is_symlink()
    assert (tmp_path / "scratch/new").exists()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["results", "scratch"]
