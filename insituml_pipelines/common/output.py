"""Results that are made aside and get their name when they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import EXTERNAL
from insituml_pipelines.common.locking import held, was_held

NEW, OLD, LOCK = "new", "old", "lock"


@contextmanager
def new_folder(target: Path, *, patience: float = 0.0) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``target`` when the block ends well.

    What was there before stays until then, and stays for good if the block fails. What killed
    processes left beside it is cleared away.

    Parameters
    ----------
    target
        The folder to make.
    patience
        Seconds to wait where another process is making the same one.

    Raises
    ------
    UserError
        If ``target``, or what should hold it, is a file, or another process makes the same one.
    """
    with new_folders(target, patience=patience) as (made,):
        yield made


@contextmanager
def new_folders(*targets: Path, patience: float = 0.0) -> Iterator[list[Path]]:
    """Do the same for several folders: all of them are replaced, or none."""
    targets = tuple(t.resolve() if t.is_symlink() and t.exists() else t for t in targets)
    for target in targets:
        check_replaceable(target)
    parents = [parent for target in targets for parent in _made(target.parent)]
    unfinished, old = ([_beside(t, end) for t in targets] for end in (NEW, OLD))
    try:
        with ExitStack() as stack:
            for target in sorted(targets):  # in one order, so that no two wait for each other
                lock = held(_beside(target, LOCK), str(target), patience=patience)
                stack.enter_context(lock)
            for target in targets:
                _tidy(target.parent, but=targets)
                _recover(target)
            try:
                for new in unfinished:
                    new.mkdir()
                yield unfinished
                _swap(targets, unfinished, old)
                for folder in old:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                for folder in unfinished:
                    shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        for parent in parents:
            with suppress(OSError):  # another command has put something there
                parent.rmdir()
        raise


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
    except BaseException:  # Ctrl-C too
        for now, before in reversed(moved):
            now.replace(before)
        raise


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if there is any."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Delete a folder so that a process that is killed meanwhile leaves no half of it."""
    aside = _beside(folder, OLD)
    remove(aside)
    folder.replace(aside)
    remove(aside)


def clear_place(folder: Path, *parts: str) -> None:
    """Make ``folder`` and its ``parts`` ready to be written: folders, not files of these names."""
    remove(_beside(folder, OLD))
    for place in (folder, *(folder / part for part in parts)):
        if os.path.lexists(place) and not place.is_dir():
            remove(place)
    folder.mkdir(parents=True, exist_ok=True)


def _recover(target: Path) -> None:
    """Undo what a killed process left: results that it had moved away come back."""
    old = _beside(target, OLD)
    if old.exists() and not target.exists():  # killed between two renames
        old.replace(target)
    for left_over in (_beside(target, NEW), old):
        remove(left_over)


def _tidy(folder: Path, but: tuple[Path, ...]) -> None:
    """Clear away what killed processes left of other results in a folder.

    Each left its lock, which names it: no other hidden files are touched.
    """
    for lock in folder.glob(f".*.{LOCK}"):
        target = lock.with_name(lock.name[1 : -len(LOCK) - 1])
        if target not in but and was_held(lock):
            with suppress(UserError), held(lock, str(target)):
                _recover(target)


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
