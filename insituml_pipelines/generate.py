"""Stage 1: make the data of the stream, or note where outside data lie."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.fitting import data_of
from insituml_pipelines.common.log import say
from insituml_pipelines.common.output import new_folder
from insituml_pipelines.common.schema import Data

if TYPE_CHECKING:
    from insituml_pipelines.data.kind import SavedSource

SECTIONS = ("data",)


def generate(data: Data, folder: Path) -> SavedSource:
    """Write ``folder``: the data and ``source.json``, which tells the split stage how to read them.

    Parameters
    ----------
    data
        Section ``data`` of the configuration.
    folder
        Replaced as a whole.

    Returns
    -------
    SavedSource
        Content of ``source.json``.
    """
    from insituml.atomic_file import write_json
    from insituml_pipelines.data.kind import SAVED
    from insituml_pipelines.data.kinds import kind_of
    from insituml_pipelines.data.sources import build_source
    from insituml_pipelines.data.stored import digests_beside

    source = build_source(data)
    with new_folder(folder) as made:
        saved = kind_of(data).save(data, source, made)
        identity = data.model_dump(include={"source", "path", "component"})
        saved = replace(saved, source=identity, files=digests_beside(made))
        write_json(made / SAVED, asdict(saved))
    return saved


def main(call: Invocation) -> None:
    data = data_of(call)
    generate(data, Path("data/raw"))
    say(f"generate: {data.name} is in data/raw")


def command() -> None:
    """Run from the command line."""
    run_stage(main, SECTIONS, "Make the data of the stream below data/raw.")


if __name__ == "__main__":
    command()
