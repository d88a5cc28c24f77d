"""Which files a path means: one series, a pattern of one file an iteration, or a folder of them."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from insituml.data.openpmd.file_kinds import BP_ENDINGS, ENDINGS

PLACE = re.compile(r"%(0?\d+)?T")
LARGEST = 2**64 - 1
"""openPMD-api counts iterations in 64 bits."""
NAMED = 5
"""Files that a message names at most."""


@dataclass(frozen=True)
class SeriesFiles:
    """The files of a series.

    Parameters
    ----------
    files
        Each with the iteration in its name; a file of all iterations has None.
    notes
        What else lies there and is not read, in words.
    """

    files: tuple[tuple[int | None, Path], ...]
    notes: tuple[str, ...] = ()


def find_series(path: Path) -> SeriesFiles:
    """Return the files that a path means.

    Parameters
    ----------
    path
        A file or BP folder; a pattern with ``%T`` or ``%06T`` (openPMD's: padded with zeros to so
        many digits), whose ending may be ``%E``: whichever there is; or a folder that holds one
        series.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If a folder holds several series, two files the same iteration, or a pattern names its place
        twice.
    """
    places = [match[0] for match in PLACE.finditer(path.name)]
    if len(places) > 1:
        raise ValueError(
            f"{path} has {' and '.join(places)}; one place of its name can be the iteration: write "
            "the others as they are in the files' names"
        )
    if PLACE.search(str(path.parent)) is not None and not path.parent.exists():
        raise FileNotFoundError(
            f"no openPMD file {path} (looked in {Path.cwd()}); the iteration's place, %T, can be "
            "in a file's name, not in a folder's"
        )
    if places:
        return _matching(_with_ending(path))
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path} is a link to {path.readlink()}, which does not exist")
    if not path.exists():
        raise FileNotFoundError(f"no openPMD file {path} (looked in {Path.cwd()})")
    if path.is_dir() and not is_bp_folder(path) and path.suffix not in ENDINGS:
        return _within(path)
    return SeriesFiles(((None, path),))


def is_bp_folder(path: Path) -> bool:
    """Return whether a folder is what ADIOS2 calls a file, or was meant to be."""
    return path.is_dir() and (
        path.suffix in BP_ENDINGS
        or any((path / name).exists() for name in ("md.idx", "md.0", "mmd.0"))
    )


def series_files(path: Path) -> list[Path]:
    """Return the files and BP folders of a series, sorted; empty if there are none.

    Parameters
    ----------
    path
        As :func:`find_series` takes it.
    """
    try:
        return sorted(file for _, file in find_series(path).files)
    except FileNotFoundError:
        return []


def stored_files(parts: Sequence[Path]) -> list[Path]:
    """Return the plain files behind series: those in BP folders, and those ADIOS2 puts beside.

    Files that may not be read are left out.
    """
    found: list[Path] = []
    for part in parts:
        beside = part.with_name(f"{part.name}.dir")
        for place in (part, beside):
            if place.is_dir():
                found += sorted(f for f in place.rglob("*") if f.is_file())
            elif place.is_file():
                found.append(place)
    return [file for file in found if os.access(file, os.R_OK)]


def _with_ending(path: Path) -> Path:
    """Put the ending that there is in the place of ``%E``."""
    if not path.name.endswith(".%E"):
        return path
    stem = path.name.removesuffix(".%E")
    there = [e for e in ENDINGS if _matching_names(path.with_name(stem + e))]
    if len(there) > 1:
        raise ValueError(f"{path} has files that end in {' and '.join(there)}; say which to read")
    return path.with_name(stem + (there[0] if there else ".h5"))


def _matching_names(path: Path) -> list[tuple[int, Path, bool]]:
    """Return number, file and whether its padding is the pattern's, for names of a pattern."""
    width = int(PLACE.search(path.name)[1] or 0)  # type: ignore[index]
    before, after = PLACE.split(path.name)[0], PLACE.split(path.name)[-1]
    name = re.compile(f"{re.escape(before)}(\\d+){re.escape(after)}")
    found = []
    for file in path.parent.iterdir() if path.parent.is_dir() else ():
        match = name.fullmatch(file.name)
        if match:
            digits = match[1]
            fits = width == 0 or len(digits) == width or (len(digits) > width and digits[0] != "0")
            found.append((int(digits), file, fits))
    return sorted(found)


def _matching(path: Path) -> SeriesFiles:
    named = _matching_names(path)
    files = [(number, file) for number, file, fits in named if fits]
    others = [file for _, file, fits in named if not fits]
    if not files:
        hint = f"; {_listed(others)} would match %T" if others else ""
        raise FileNotFoundError(f"no openPMD file {path} (looked in {Path.cwd()}){hint}")
    for (number, file), (following, other) in itertools.pairwise(files):
        if number == following:
            raise ValueError(
                f"{file.name} and {other.name} in {path.parent} are both iteration {number}; give "
                "a pattern that says how many digits, such as %06T, or remove one"
            )
    if files[-1][0] > LARGEST:
        raise ValueError(
            f"{files[-1][1]} has the number {files[-1][0]} in its name; openPMD-api reads "
            "iterations up to 2^64 - 1"
        )
    notes = []
    if others:
        notes.append(
            f"{len(others)} of {len(named)} files are left out, as their numbers are not written "
            f"like {PLACE.search(path.name)[0]}: {_listed(others)}; %T takes all"  # type: ignore[index]
        )
    return SeriesFiles(tuple(files), tuple(notes))


def _within(folder: Path) -> SeriesFiles:
    """Find the one series in a folder."""
    found = _patterns(folder)
    if not found:
        deeper = sorted(f for f in folder.iterdir() if f.is_dir() and _patterns(f))
        if len(deeper) == 1:
            return _within(deeper[0])
        hint = f"; there are some in {_listed(deeper)}: give one of them" if deeper else ""
        names = sorted(f.name for f in folder.iterdir())[:NAMED]
        there = hint or f"; it holds {', '.join(names) or 'nothing'}"
        raise FileNotFoundError(f"no openPMD series in the folder {folder}{there}")
    if len(found) > 1:
        raise ValueError(
            f"the folder {folder} holds {len(found)} series: {_listed(sorted(found))}; give one of "
            "them as path"
        )
    ((pattern, files),) = found.items()
    # A number in one file's name, as of openpmd1.bp, may be anything: it holds what it holds.
    return find_series(pattern if len(files) > 1 else files[0])


def _patterns(folder: Path) -> dict[Path, list[Path]]:
    """Return the files of each series in a folder, by path: one file an iteration by pattern."""
    found: dict[Path, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in ENDINGS and not file.name.startswith("."):
            name = re.sub(r"\d+(?=\D*$)", "%T", file.stem) + file.suffix
            found.setdefault(folder / name, []).append(file)
    return found


def _listed(files: Sequence[Path]) -> str:
    names = [file.name for file in files[:NAMED]]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(names) + more
