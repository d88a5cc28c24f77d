"""Stage 2: cut the stream into tasks of normalised samples, as memory-mapped arrays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.common.cli import Invocation, run_stage
from pipelines.common.schema import Data, validate
from pipelines.common.task_files import STREAM, digest_of_files, task_folder, write_json

if TYPE_CHECKING:
    from insituml.data.normalisation import Normalisation, RunningMoments
    from pipelines.data.split_parts import Part

SECTIONS = ("data",)


def split(data: Data, raw: Path, folder: Path) -> dict[str, Any]:
    """Write one folder a task below ``folder``, and ``stream.json``.

    Memory stays bounded by one step of the stream.

    Parameters
    ----------
    data
        Section ``data`` of the configuration.
    raw
        What the generate stage wrote.
    folder
        Replaced as a whole.

    Returns
    -------
    dict
        Content of ``stream.json``.
    """
    from insituml.data.normalisation import RunningMoments
    from pipelines.data.split_parts import open_stream

    stream = open_stream(data, raw)
    if folder.exists():
        shutil.rmtree(folder)
    infos = []
    moments = RunningMoments(stream.facts["sample_shape"][0])
    if data.split.normalisation == "global":
        for task in stream.tasks:
            _measure(moments, task.train)
    for k, task in enumerate(stream.tasks):
        if data.split.normalisation == "running" or (
            data.split.normalisation == "first_task" and k == 0
        ):
            _measure(moments, task.train)
        normalisation = moments.normalisation()
        target = task_folder(folder, k)
        target.mkdir(parents=True)
        for name, part in (("train", task.train), ("test", task.test)):
            _write(part, name, target, normalisation)
        for name, values in task.arrays.items():
            np.save(target / f"{name}.npy", values)
        infos.append(
            {
                "name": task.name,
                **task.facts,
                "train": task.train.samples,
                "test": task.test.samples,
                "normalisation": {
                    "mean": normalisation.mean.tolist(),
                    "std": normalisation.std.tolist(),
                },
            }
        )
        print(f"split: task {k}, {task.name}: {task.train.samples} + {task.test.samples} held out")
    files = sorted(folder.rglob("*.npy"))
    info = {
        "name": data.name,
        "kind": data.kind,
        **stream.facts,
        "tasks": infos,
        "fingerprint": digest_of_files(files),
    }
    write_json(folder / STREAM, info)
    return info


def _measure(moments: RunningMoments, part: Part) -> None:
    for columns in part:
        moments.update(columns["inputs"])


def _write(part: Part, name: str, folder: Path, normalisation: Normalisation) -> None:
    files: dict[str, np.memmap] = {}
    row = 0
    for columns in part:
        columns = {**columns, "inputs": normalisation.apply(columns["inputs"])}
        end = row + len(columns["inputs"])
        for column, values in columns.items():
            if column not in files:
                files[column] = np.lib.format.open_memmap(
                    folder / f"{name}_{column}.npy",
                    mode="w+",
                    dtype=values.dtype,
                    shape=(part.samples, *values.shape[1:]),
                )
            files[column][row:end] = values
        row = end
    for file in files.values():
        file.flush()


def main(call: Invocation) -> None:
    data = validate(Data, call.section("data"), "data")
    split(data, Path("data/raw"), Path("data/tasks"))
    print(f"split: {data.name} is in data/tasks")


if __name__ == "__main__":
    run_stage(main, SECTIONS, "Cut the stream into tasks below data/tasks.")
