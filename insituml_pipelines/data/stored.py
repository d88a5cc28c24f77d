"""What the generate stage left, read as data: a file chooses among known readers, and no code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.records import read_record
from insituml_pipelines.common.targets import validate_target
from insituml_pipelines.data.kind import SAVED, SavedSource
from insituml_pipelines.data.sources import instantiated

READERS = frozenset(
    f"insituml.data.{name}"
    for name in (
        "NpyFolder",
        "OpenPMDSeries",
        "npy_folder.NpyFolder",
        "openpmd.OpenPMDSeries",
        "openpmd.series.OpenPMDSeries",
        "openpmd_series.OpenPMDSeries",
    )
)
"""Sources that a file may name; another one has to be named by the command itself."""
AGAIN = "run `insituml generate` again"


def read_saved(raw: Path) -> SavedSource:
    """Return what ``source.json`` says, once the files beside it are those that were written.

    Raises
    ------
    UserError
        If there is none, or something is damaged or was changed.
    """
    from insituml.safe_reading import DamagedFileError, digest_of

    try:
        saved = read_record(SavedSource, raw / SAVED, AGAIN)
    except FileNotFoundError as error:
        again = AGAIN.removesuffix(" again")
        raise UserError(f"there are no data in {raw}; {again} first") from error
    for name, written in saved.files.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{raw / SAVED} names {name!r}, which is not beside it; {AGAIN}")
        try:
            if digest_of(raw / name).hex() != written:
                raise DamagedFileError(f"{raw / name} is not what was written: its SHA-256 differs")
        except FileNotFoundError as error:
            raise UserError(f"{raw / name} is missing; {AGAIN}") from error
        except DamagedFileError as error:
            raise UserError(f"{error}; {AGAIN}") from error
    return saved


def digests_beside(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its path there."""
    from insituml.safe_reading import digest_of

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {file.relative_to(folder).as_posix(): digest_of(file).hex() for file in files}


def stored_source(reader: Mapping[str, Any], configured: Node, file: Path) -> Any:
    """Build the reader that a file names.

    Parameters
    ----------
    reader
        A ``_target_`` with its arguments, as it stands in the file.
    configured
        ``data.source`` of the command: a reader of the user's own has to stand there.
    file
        What messages call it.

    Raises
    ------
    UserError
        If it is none that a file may name, before anything is imported.
    """
    target = reader.get("_target_")
    own = dict(reader) == configured
    if not own and (not isinstance(target, str) or target not in READERS):
        raise UserError(
            f"{file} names the reader {str(target)[:80]!r}; a file may name "
            "insituml.data.OpenPMDSeries or NpyFolder, others only the command itself: give it the "
            f"options that `insituml generate` had, or {AGAIN}"
        )
    if not own and (wrong := _not_plain({k: v for k, v in reader.items() if k != "_target_"})):
        raise UserError(f"{file} holds {wrong!r}, where plain values were expected; {AGAIN}")
    try:
        validate_target(dict(reader), "reader")
    except UserError as error:
        raise UserError(f"{file}: {error}; {AGAIN}") from error
    return instantiated(dict(reader))


def _not_plain(value: Any) -> str:
    """Return what would make more of a value than it says: a key or a reference of Hydra's."""
    if isinstance(value, Mapping):
        special = [k for k in map(str, value) if k.startswith("_")]
        return special[0][:50] if special else _not_plain(list(value.values()))
    if isinstance(value, list):
        return next((found for item in value if (found := _not_plain(item))), "")
    return value[:50] if isinstance(value, str) and "${" in value else ""
