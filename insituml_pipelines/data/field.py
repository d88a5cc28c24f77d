"""Fields on a grid: cut into chunks, shown in the plane along their longest axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import ask_for_room
from insituml_pipelines.common.log import bar, say
from insituml_pipelines.common.schema import Data, LabelSplit, Transit
from insituml_pipelines.data.kind import SAVED, FigureLabels, Kind, SavedSource, StoredStream
from insituml_pipelines.data.plane import plane_of, shown_iteration
from insituml_pipelines.data.stored import AGAIN, stored_source

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.task_files import TaskFiles
    from insituml.data.windows import TaskWindows
    from insituml.plots import Figure
    from insituml.stream import Description, Source


class Field(Kind):
    """One vector field, iteration by iteration."""

    def save(self, data: Data, source: Any, folder: Path) -> SavedSource:
        if data.path is not None:
            from insituml.data.task_files import digest_of_files

            _heed_faults(source, data)
            # The user's files stay where they are; their digest notices when they change.
            return SavedSource(data.source, digest_of_files(_files_of(source, Path(data.path))))
        from insituml.data.openpmd import write_series
        from insituml.data.openpmd.mesh_writer import record_to_read
        from insituml_pipelines.data.readable import ReadableField

        series = folder / f"series.{data.format}"
        _ask_for_room(source, folder)
        with bar(total=len(source), desc="generate", unit="iteration") as moving:
            whole = ReadableField(source, data, "generate", finite=False)
            write_series(series, whole, progress=lambda *_: moving.update())
        return SavedSource(
            {
                "_target_": "insituml.data.openpmd.OpenPMDSeries",
                "path": series.name,
                "record": record_to_read(source.components),
            }
        )

    def open(self, data: Data, raw: Path, saved: SavedSource) -> StoredStream:
        from insituml.stream import FieldStream

        if saved.reader is None:
            raise UserError(f"{raw} holds samples, but data={data.name} is a field; {AGAIN}")
        reader = dict(saved.reader)
        if saved.digest is None:  # what was made here lies beside
            if str(reader.get("path")) not in {name.partition("/")[0] for name in saved.files}:
                raise UserError(f"{raw / SAVED} does not say which file beside it to read; {AGAIN}")
            reader["path"] = str(raw / str(reader["path"]))
        source = stored_source(reader, data.source, raw / SAVED)
        if saved.digest is not None:
            _check_unchanged(source, reader.get("path"), saved.digest)
        return FieldStream(source)

    def stream(self, data: Data, source: Any, transit: Transit) -> Source:
        from insituml.stream import FieldStream, Source

        return source if isinstance(source, Source) else FieldStream(source)

    def windows(
        self, data: Data, description: Description, iterations: Sequence[int] | None = None
    ) -> TaskWindows:
        from insituml.data.windows import TaskWindows

        if isinstance(data.split, LabelSplit):
            raise UserError(
                "data.split.by is label, but a field has no labels; use data.split.by=time"
            )
        if data.split.holdout is None:
            raise UserError(
                f"data={data.name} has no test data of its own; set data.split.holdout to the part "
                "to hold out, such as 0.2"
            )
        numbers = iterations if iterations is not None else description.iterations
        assert numbers is not None
        return TaskWindows.in_time(
            numbers, data.split.tasks, data.split.holdout, data.split.validation
        )

    def components(self, manifest: Manifest) -> tuple[str, ...]:
        return manifest.components

    def shown(self, files: TaskFiles, task: int) -> np.ndarray:
        iterations = files.array(task, "test_places")[:, 0]
        return np.flatnonzero(iterations == shown_iteration(files.manifest, task))

    def picture(
        self, samples: np.ndarray, files: TaskFiles, task: int, rows: np.ndarray
    ) -> np.ndarray:
        from insituml.data.chunks import assemble

        assert files.manifest.grid is not None
        shape = files.manifest.grid.shape
        places = files.array(task, "test_places")[rows, 1:]
        volume = assemble(samples, places, shape)
        up, right, cut = plane_of(shape)
        if cut is not None:
            volume = np.take(volume, shape[cut] // 2, axis=1 + cut)
        return np.swapaxes(volume, -1, -2) if up is not None and up > right else volume

    def draw(
        self,
        originals: np.ndarray,
        guesses: np.ndarray,
        manifest: Manifest,
        *,
        generative: bool,
        labels: FigureLabels,
    ) -> dict[str, Figure]:
        from insituml import plots
        from insituml_pipelines.data.plane_view import PlaneView

        view = PlaneView.of(manifest)
        rows = zip(labels.row_labels, view.rows, strict=True)
        labels = replace(
            labels,
            row_labels=[f"{name}\n{shown}" for name, shown in rows],
            title=", ".join(part for part in (labels.title, view.place) if part),
        )
        horizontal, vertical = view.axis_labels
        figures = {}
        for index, component in enumerate(manifest.components):
            shown = {
                "originals": originals[:, index],
                "reconstructions": guesses[:, :, index],
                "extent": view.extents,
                "unit": manifest.units[index],
                "component": component,
                **vars(labels),
            }
            figures[f"_{component}"] = (
                plots.reconstruction_grid(axis_labels=(horizontal, vertical), **shown)
                if vertical
                else plots.reconstruction_lines(axis_label=horizontal, **shown)
            )
        return figures


def _heed_faults(source: Any, data: Data) -> None:
    """Name the iterations that a source found it cannot read, or refuse the first."""
    for number, reason in getattr(source, "faults", {}).items():
        if data.split.on_bad_iteration == "fail":
            raise UserError(
                f"data={data.name}: iteration {number}: {reason}; "
                "data.split.on_bad_iteration=skip leaves such iterations out"
            )
        say(f"generate: iteration {number} cannot be read and is left out: {reason}")


def _files_of(source: Any, path: Path) -> list[Path]:
    """Return the files that a source reads; all at the path, where it does not say."""
    files = getattr(source, "files", None)
    if files is not None:
        return list(files)
    return sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]


def _check_unchanged(source: Any, path: Any, digest: str) -> None:
    """Refuse outside data that are others than when they were looked at."""
    from insituml.data.task_files import digest_of_files

    if digest_of_files(_files_of(source, Path(path))) != digest:
        raise UserError(f"the files of {path} have changed since they were generated from; {AGAIN}")


def _ask_for_room(source: Any, folder: Path) -> None:
    needed = 4 * len(source) * len(source.components) * math.prod(source.grid.shape)
    ask_for_room(folder, needed, needed, "generate: the series")
