"""The files of a stream that was cut into tasks: ``stream.json`` and one folder a task."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from insituml.atomic_file import write_json
from insituml.data.manifest import Manifest
from insituml.data.npy_appender import NpyAppender
from insituml.data.plain_values import typed
from insituml.safe_reading import DamagedFileError, digest_of, map_npy, read_json

if TYPE_CHECKING:
    from insituml.data.task import Task

MANIFEST = "stream.json"
PARTS = ("train", "test", "validation")
"""Of a task, each in files of its own."""
DIGESTS = "digests"
"""Key of ``stream.json`` beside those of the manifest."""
NAMES = {"f": "floats", "i": "integers", "fiub": "numbers"}
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
    digests
        SHA-256 of each array when it was written, by its path below the folder.
    """

    folder: Path
    manifest: Manifest
    digests: Mapping[str, str] = field(default_factory=dict)

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
            plain = read_json(file)
        except DamagedFileError as error:
            raise DamagedFileError(f"{error}; make it again") from error
        digests = plain.pop(DIGESTS, {}) if isinstance(plain, dict) else {}
        manifest = Manifest.from_plain(plain, str(file))
        try:
            return cls(folder, manifest, typed(Mapping[str, str], digests, DIGESTS))
        except ValueError as error:
            raise DamagedFileError(f"{file} is damaged ({error}); make it again") from error

    def array(self, task: int, name: str) -> np.ndarray:
        """Map one array of a task, such as ``"test_places"``; nothing is read yet.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        DamagedFileError
            If it is no array, or not one that the manifest describes.
        """
        path = task_folder(self.folder, task) / f"{name}.npy"
        # Copy-on-write: torch refuses to share memory that it must not write to.
        array = map_npy(path)
        part, _, column = name.partition("_")
        kinds, shape = "fiub", array.shape
        if column in ("inputs", "labels", "places"):
            shape = (getattr(self.manifest.tasks[task], part), *array.shape[1:])
        if column == "inputs":
            kinds, shape = "f", (shape[0], *self.manifest.sample_shape)
        elif column == "places":
            kinds, shape = "i", (shape[0], len(self.manifest.sample_shape))
        elif name == "pixel_order":
            kinds, shape = "i", (math.prod(self.manifest.sample_shape[1:]),)
        if array.shape != shape or array.dtype.kind not in kinds:
            raise DamagedFileError(
                f"{path} holds {array.dtype} of shape {array.shape}; {MANIFEST} describes "
                f"{NAMES[kinds]} of shape {shape}"
            )
        if column == "inputs" and array.dtype != np.float32:
            raise DamagedFileError(f"{path} holds {array.dtype}; samples are float32")
        return array

    def check(self, parts: Sequence[str] = PARTS, *, places: bool = False) -> None:
        """Look whether all arrays are those that were written, reading them once.

        Parameters
        ----------
        parts
            Those that are needed; a part without samples has no file.
        places
            Whether the places of held-out chunks are needed too.

        Raises
        ------
        FileNotFoundError
            If one is not there.
        DamagedFileError
            If one is not as the manifest describes it, or was changed since.
        """
        others = []
        if places and self.manifest.grid is not None:
            others.append("test_places")
        if self.manifest.permuted:
            others.append("pixel_order")
        for task, info in enumerate(self.manifest.tasks):
            needed = [part for part in parts if part != "validation" or info.validation]
            names = [f"{part}_{column}" for part in needed for column in self.manifest.columns]
            for name in [*names, *others]:
                self.array(task, name)
                path = task_folder(self.folder, task) / f"{name}.npy"
                written = self.digests.get(path.relative_to(self.folder).as_posix())
                if written is not None and digest_of(path).hex() != written:
                    raise DamagedFileError(f"{path} is not what was written: its SHA-256 differs")

    def tasks(self, parts: Sequence[str] = PARTS) -> list[Task]:
        """Return the tasks, their tensors mapped from the files.

        The training samples of a stream that was learned in transit are gone: there are none.

        Parameters
        ----------
        parts
            What is opened; of others there is nothing.
        """
        import torch

        from insituml.data.task import Task

        def batch(task: int, part: str) -> tuple[torch.Tensor, ...]:
            gone = part == "train" and self.manifest.in_transit
            none = part == "validation" and not self.manifest.tasks[task].validation
            if part not in parts or gone or none:
                return ()
            arrays = (self.array(task, f"{part}_{column}") for column in self.manifest.columns)
            return tuple(torch.from_numpy(array) for array in arrays)

        return [
            Task(k, name, batch(k, "train"), batch(k, "test"), validation=batch(k, "validation"))
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
        Its number, and one of :data:`PARTS`.
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
    write_json(folder / MANIFEST, {**manifest.to_plain(), DIGESTS: digests_below(folder)})


def digests_below(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each array below a folder, by its path."""
    files = sorted(folder.rglob("*.npy"))
    return {file.relative_to(folder).as_posix(): digest_of(file).hex() for file in files}


def digest_of_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 over the names and contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        digest.update(digest_of(path))
    return digest.hexdigest()
