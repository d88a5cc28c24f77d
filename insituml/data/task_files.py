"""The files of a stream that was cut into tasks: ``stream.json`` and one folder a task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from insituml.atomic_file import write_json
from insituml.data.manifest import Manifest
from insituml.data.npy_appender import NpyAppender

if TYPE_CHECKING:
    from insituml.data.task import Task

MANIFEST = "stream.json"
Columns = Mapping[str, np.ndarray]
"""Rows of samples by column: ``inputs``, and ``labels`` or ``places``."""


@dataclass(frozen=True)
class TaskFiles:
    """Tasks on disk.

    Parameters
    ----------
    folder
        Where they lie.
    manifest
        What they mean.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open tasks; no array is read yet.

        Raises
        ------
        FileNotFoundError
            If there are none.
        ValueError
            If the manifest is of another format, or damaged.
        """
        file = folder / MANIFEST
        try:
            plain = json.loads(file.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is damaged: {error}; make it again") from error
        return cls(folder, Manifest.from_plain(plain, str(file)))

    def array(self, task: int, name: str) -> np.ndarray:
        """Map one array of a task, such as ``"test_places"``; nothing is read yet."""
        # Copy-on-write: torch refuses to share memory that it must not write to.
        return np.load(task_folder(self.folder, task) / f"{name}.npy", mmap_mode="c")

    def tasks(self) -> list[Task]:
        """Return the tasks, their tensors mapped from the files.

        The training samples of a stream that was learned in transit are gone: there are none.
        """
        import torch

        from insituml.data.task import Task

        def batch(task: int, part: str) -> tuple[torch.Tensor, ...]:
            if part == "train" and self.manifest.in_transit:
                return ()
            arrays = (self.array(task, f"{part}_{column}") for column in self.manifest.columns)
            return tuple(torch.from_numpy(array) for array in arrays)

        return [
            Task(k, name, batch(k, "train"), batch(k, "test"))
            for k, name in enumerate(self.manifest.task_names)
        ]


def task_folder(folder: Path, task: int) -> Path:
    """Return the folder of a task."""
    return folder / f"task_{task:02d}"


def write_part(folder: Path, task: int, part: str, blocks: Iterable[Columns]) -> int:
    """Write the samples of one part of a task, block by block; return how many there were.

    Parameters
    ----------
    folder
        Of all tasks.
    task, part
        Its number, and ``"train"`` or ``"test"``.
    blocks
        One block is in memory at a time.
    """
    target = task_folder(folder, task)
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    files: dict[str, NpyAppender] = {}
    with ExitStack() as stack:
        for columns in blocks:
            for name, rows in columns.items():
                if name not in files:
                    path = target / f"{part}_{name}.npy"
                    files[name] = stack.enter_context(closing(NpyAppender(path)))
                files[name].append(rows)
            count += len(columns["inputs"])
    return count


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write what the task files of a folder mean; written last, it says that they are whole."""
    write_json(folder / MANIFEST, manifest.to_plain())


def digest_of_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 over the names and contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
