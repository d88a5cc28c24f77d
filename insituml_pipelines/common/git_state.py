"""Which commit the working folder is at, and whether files were changed since."""

from __future__ import annotations

import subprocess
from pathlib import Path

PATIENCE = 10.0
"""Seconds; on a slow file system nobody waits for this."""


def git_state(folder: Path) -> dict[str, str]:
    """Return ``git_commit`` and ``dirty`` (``"true"`` or ``"false"``); nothing without Git.

    Files that Git does not track make nothing dirty: results are such.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changed is None:
        return {}
    return {"git_commit": commit, "dirty": "true" if changed else "false"}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "--no-optional-locks", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
