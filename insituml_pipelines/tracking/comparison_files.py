"""The files of a comparison, each in its place below the artifacts of the parent run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from insituml_pipelines.tracking import labels

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_files(
    client: MlflowClient, run_id: str, folder: Path, below: Path, methods: Iterable[str]
) -> None:
    """Record all files of a folder in ``below``, figures by their kind."""
    known = set(methods)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = file.relative_to(folder)
        if file.suffix == ".png" and place.parent == Path():
            place = Path(labels.figure_place(place, known))
        _log_file(client, run_id, file, below / place)


def _log_file(client: MlflowClient, run_id: str, file: Path, place: Path) -> None:
    """Record a file under a name of its own."""
    if file.name == place.name:
        client.log_artifact(run_id, str(file), place.parent.as_posix())
        return
    with TemporaryDirectory() as folder:
        named = Path(shutil.copy2(file, Path(folder) / place.name))
        client.log_artifact(run_id, str(named), place.parent.as_posix())
