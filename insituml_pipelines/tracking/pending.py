"""What could not be recorded is kept beside the store, until it can be."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insituml.atomic_file import write_json
from insituml_pipelines.common.output import new_folder, remove

RECORD, FILES = "record.json", "files"


@dataclass(frozen=True)
class Kept:
    """A record that waits.

    Parameters
    ----------
    place
        Its folder.
    kind, values, files
        As they were kept.
    """

    place: Path
    kind: str
    values: dict[str, Any]
    files: Path | None


class Pending:
    """Records in the order in which they were kept, each with copies of its files.

    Parameters
    ----------
    database
        The store; records lie in ``<database>.pending``, beside it or, where nothing can be
        written there, in the working folder.
    """

    def __init__(self, database: Path) -> None:
        name = f"{database.name}.pending"
        self.folders = list(dict.fromkeys([database.parent / name, Path.cwd() / name]))

    def keep(self, kind: str, values: dict[str, Any], files: Path | None = None) -> Path:
        """Keep a record and a copy of its file or folder; return where.

        Raises
        ------
        OSError
            If it can be kept nowhere.
        """
        number = f"{time.time_ns()}-{os.getpid()}"
        for folder in self.folders:
            writable = folder if folder.is_dir() else folder.parent
            if not os.access(writable, os.W_OK | os.X_OK):
                continue
            with new_folder(folder / number) as made:
                if files is not None:
                    copy = shutil.copytree if files.is_dir() else shutil.copy2
                    (made / FILES).mkdir()
                    copy(files, made / FILES / files.name)
                write_json(made / RECORD, {"kind": kind, "values": values})
            return folder
        raise PermissionError(f"neither {' nor '.join(map(str, self.folders))} can be written")

    def records(self) -> Iterator[Kept]:
        """Yield each record; it stays until :meth:`done` deletes it.

        What is damaged is left out, and stays.
        """
        for folder in self.folders:
            for place in sorted(folder.glob("[0-9]*")):
                try:
                    content = json.loads((place / RECORD).read_text())
                    kind, values = content["kind"], content["values"]
                except (OSError, ValueError, KeyError, TypeError):
                    continue
                yield Kept(place, kind, values, next((place / FILES).glob("*"), None))

    def done(self, record: Kept) -> None:
        """Delete a record that was recorded, and the folder with the last of them."""
        remove(record.place)
        folder = record.place.parent
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
