"""The files of a split stream: ``stream.json`` and one folder a task."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insituml.atomic_file import write_atomically
from pipelines.common.errors import UserError

if TYPE_CHECKING:
    from insituml.data.task import Task

STREAM = "stream.json"
COLUMNS = ("inputs", "labels")


@dataclass(frozen=True)
class Stream:
    """A split stream on disk.

    Parameters
    ----------
    folder
        Where it lies.
    info
        Content of ``stream.json``: name, kind, shapes, components, unit, grid, tasks, fingerprint.
    """

    folder: Path
    info: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        return self.info["fingerprint"]

    @property
    def task_names(self) -> list[str]:
        return [task["name"] for task in self.info["tasks"]]

    @property
    def sample_shape(self) -> list[int]:
        return self.info["sample_shape"]

    def facts(self) -> dict[str, Any]:
        """Return what the configuration may refer to as ``stream``."""
        return {
            "tasks": len(self.info["tasks"]),
            "sample_shape": self.sample_shape,
            "condition_size": self.info["condition_size"],
        }

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

        columns = [c for c in COLUMNS if c in self.info["columns"]]

        def batch(task: int, part: str) -> tuple[torch.Tensor, ...]:
            if part == "train" and self.info.get("in_transit"):
                return ()
            return tuple(torch.from_numpy(self.array(task, f"{part}_{c}")) for c in columns)

        return [
            Task(k, name, batch(k, "train"), batch(k, "test"))
            for k, name in enumerate(self.task_names)
        ]


def task_folder(folder: Path, task: int) -> Path:
    """Return the folder of a task."""
    return folder / f"task_{task:02d}"


def read_stream(folder: Path) -> Stream:
    """Open a split stream.

    Raises
    ------
    UserError
        If the split stage has not run yet, or an earlier version of it.
    """
    try:
        info = json.loads((folder / STREAM).read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"there are no tasks in {folder}; run `python -m pipelines.split` first"
        ) from error
    if "condition_size" not in info:
        raise UserError(
            f"the tasks in {folder} were split by an earlier version of insituml; run "
            "`python -m pipelines.split` again, with the same options"
        )
    return Stream(folder, info)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that is the same for the same content."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def digest_of_files(paths: list[Path]) -> str:
    """Return the SHA-256 over the names and contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
