"""Stage 1: make the data of the stream, or note where outside data lie."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.common.cli import Invocation, run_stage
from pipelines.common.errors import UserError
from pipelines.common.schema import Data, validate, validate_target
from pipelines.common.task_files import digest_of_files, write_json

SECTIONS = ("data",)


def generate(data: Data, folder: Path) -> dict[str, Any]:
    """Write ``folder``: the data and ``source.json``, which tells the split stage how to read them.

    Parameters
    ----------
    data
        Section ``data`` of the configuration.
    folder
        Replaced as a whole.

    Returns
    -------
    dict
        Content of ``source.json``.
    """
    source = build_source(data)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    if data.kind != "field":
        arrays = {name: values for name, values in vars(source).items() if values is not None}
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values)
        manifest: dict[str, Any] = {"arrays": list(arrays)}
    elif data.path is not None:
        # The user's files stay where they are; their digest notices when they change.
        files = _files_of(Path(data.path))
        manifest = {"reader": data.source, "digest": digest_of_files(files)}
    else:
        from tqdm import tqdm

        from insituml.data.openpmd.writer import write_series

        series = folder / f"series.{data.format}"
        with tqdm(total=len(source), desc="generate", unit="step", disable=None) as bar:
            write_series(series, source, progress=lambda *_: bar.update())
        manifest = {
            "reader": {
                "_target_": "insituml.data.openpmd.series.OpenPMDSeries",
                "path": str(series),
            }
        }
    write_json(folder / "source.json", manifest)
    return manifest


def build_source(data: Data) -> Any:
    """Build what the data are read from or made by."""
    from hydra.utils import instantiate

    validate_target(data.source, "data.source")
    try:
        return instantiate(data.source, _convert_="all")
    except Exception as error:  # hydra wraps what the constructor raised
        raise UserError(f"data={data.name}: {error.__cause__ or error}") from error


def _files_of(path: Path) -> list[Path]:
    """Return the files behind a path, which may be a folder or an openPMD pattern with ``%T``."""
    from insituml.data.openpmd.series import series_files

    found = []
    for part in series_files(path):
        found += sorted(f for f in part.rglob("*") if f.is_file()) if part.is_dir() else [part]
    return found


def main(call: Invocation) -> None:
    data = validate(Data, call.section("data"), "data")
    generate(data, Path("data/raw"))
    print(f"generate: {data.name} is in data/raw")


if __name__ == "__main__":
    run_stage(main, SECTIONS, "Make the data of the stream below data/raw.")
