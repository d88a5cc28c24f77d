"""Results that are made aside and get their name when they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.common.errors import UserError
from pipelines.common.failures import EXTERNAL


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``target`` when the block ends well.

    What was there before stays until then, and stays for good if the block fails.

    Raises
    ------
    UserError
        If ``target``, or what should hold it, is a file.
    """
    with new_folders(target) as (made,):
        yield made


@contextmanager
def new_folders(*targets: Path) -> Iterator[list[Path]]:
    """Do the same for several folders: all of them are replaced, or none."""
    targets = tuple(t.resolve() if t.is_symlink() and t.exists() else t for t in targets)
    for target in targets:
        check_replaceable(target)
    parents = [parent for target in targets for parent in _made(target.parent)]
    unfinished, old = ([_beside(t, end) for t in targets] for end in ("new", "old"))
    try:
        for target, new, previous in zip(targets, unfinished, old, strict=True):
            if previous.exists() and not target.exists():  # killed between the renames below
                previous.replace(target)
            for left_over in (new, previous):
                shutil.rmtree(left_over, ignore_errors=True)
            new.mkdir()
        yield unfinished
        _swap(targets, unfinished, old)
    except BaseException:
        for folder in unfinished:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in parents:
            with suppress(OSError):  # another command has put something there
                parent.rmdir()
        raise
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(targets: tuple[Path, ...], unfinished: list[Path], old: list[Path]) -> None:
    moved: list[tuple[Path, Path]] = []
    try:
        for target, previous in zip(targets, old, strict=True):
            if target.exists():
                target.replace(previous)
                moved.append((previous, target))
        for new, target in zip(unfinished, targets, strict=True):
            new.replace(target)
            moved.append((target, new))
    except OSError:
        for now, before in reversed(moved):
            now.replace(before)
        raise


def _beside(target: Path, end: str) -> Path:
    return target.with_name(f".{target.name}.{end}")


def _made(folder: Path) -> list[Path]:
    """Make a folder and those above it; return those that were not there, the lowest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def check_replaceable(target: Path) -> None:
    """Refuse to make what could not take its place: better before hours of work than after.

    Raises
    ------
    UserError
        If ``target``, or what should hold it, is a file or is protected.
    """
    for path in (target, *target.parents):
        if path.is_symlink() and not path.exists():
            raise UserError(f"{path} is a link that leads nowhere; remove it")
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file, where a folder was expected; move it away")
    for path in (target, next(path for path in target.absolute().parents if path.exists())):
        if path.exists() and not os.access(path, os.W_OK | os.X_OK):
            raise UserError(
                f"{path} is protected: nothing in it can be replaced; unprotect it (ls -ld, "
                "lsattr), or work in another folder",
                EXTERNAL,
            )
