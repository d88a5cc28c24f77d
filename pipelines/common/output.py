"""Results that are made aside and get their name when they are whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``target`` when the block ends well.

    What was there before stays until then, and stays for good if the block fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished, old = (target.with_name(f".{target.name}.{end}") for end in ("new", "old"))
    if old.exists() and not target.exists():  # killed between the two renames below
        old.replace(target)
    for left_over in (unfinished, old):
        shutil.rmtree(left_over, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished)
        raise
    if target.exists():
        target.replace(old)
    unfinished.replace(target)
    shutil.rmtree(old, ignore_errors=True)
