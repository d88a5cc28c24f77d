"""The commit of a folder, and whether tracked files differ from it."""

from __future__ import annotations

import subprocess

from insituml_pipelines.common.git_state import git_state


def test_commit_and_changes(tmp_path) -> None:
    assert git_state(tmp_path / "nothing") == {}

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    assert git_state(tmp_path) == {}  # nothing is committed yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "-m", "A")
    (tmp_path / "result").write_text("not tracked")
    commit = git("rev-parse", "HEAD")
    assert git_state(tmp_path) == {"git_commit": commit, "dirty": "false"}
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == {"git_commit": commit, "dirty": "true"}
