"""Show what a checkpoint, a manifest or a file of latents holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from insituml_pipelines.common.errors import UserError

DESCRIPTION = """Show what a file holds, without building or running anything of it.

usage: insituml inspect PATH [PATH ...]

  PATH  a checkpoint (runs/<method>/seed_<n>/task_<k>.pt), a manifest (data/tasks, or stream.json in
        it), or a file of latents, as insituml.archive.pack_latents makes it
"""
MANIFEST = "stream.json"
ZIP, BRACE = b"PK", b"{"
"""How a checkpoint and a JSON file begin; latents begin with a checksum."""


def described(path: Path) -> str:
    """Return what is printed of a file.

    Raises
    ------
    UserError
        If there is none, or it is of another kind, damaged or of another version.
    """
    from insituml_pipelines.results.contents import checkpoint_text, latents_text, manifest_text

    if path.is_dir():
        path = _in_folder(path)
    try:
        with path.open("rb") as file:
            beginning = file.read(2)
    except FileNotFoundError as error:
        raise UserError(f"there is no {path} (looked in {Path.cwd()})") from error
    if not beginning:
        raise UserError(f"{path} is empty; was its writer interrupted?")
    try:
        if beginning == ZIP:
            return checkpoint_text(path)
        if beginning[:1] == BRACE:
            return manifest_text(path)
        return latents_text(path)
    except ValueError as error:  # damaged, or of another format or kind
        said = str(error)
        raise UserError(said if said.startswith(str(path)) else f"{path}: {said}") from error


def _in_folder(folder: Path) -> Path:
    if (folder / MANIFEST).is_file():
        return folder / MANIFEST
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.pt"))
    hint = f"; name one of its checkpoints, such as {files[-1]}" if files else ""
    raise UserError(f"{folder} is a folder without {MANIFEST}{hint}")


def main(paths: Sequence[str]) -> None:
    """Print what each file holds."""
    if not paths:
        raise UserError("inspect needs a file, such as runs/ewc/seed_0/task_4.pt, or data/tasks")
    print("\n".join(described(Path(path)) for path in paths), end="")


def command() -> None:
    """Run from the command line."""
    from insituml_pipelines.common.ending import failing_in_one_line
    from insituml_pipelines.common.log import without_quiet

    with failing_in_one_line():
        given = without_quiet(sys.argv[1:])
        if {"-h", "--help"} & set(given):
            print(DESCRIPTION, end="")
        else:
            main(given)


if __name__ == "__main__":
    command()
