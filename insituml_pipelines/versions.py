"""Stage 0: note the versions of the libraries that results depend on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from insituml.atomic_file import write_json
from insituml_pipelines.common.failures import EXTERNAL, in_one_line
from insituml_pipelines.common.log import error
from insituml_pipelines.common.project_folder import project_of
from insituml_pipelines.common.versions import versions
from insituml_pipelines.project.code import code_digests, own_digests


def main(file: Path = Path("data/versions.json")) -> None:
    # Hydra and torch would take longer to load than all of a stage that runs every time.
    content: dict[str, Any] = versions()
    if (project := project_of(Path.cwd())) is not None:
        # No dependency of its graph can be a file of an installed package.
        content |= {"code": code_digests(), "own": own_digests(project)}
    write_json(file, content)


def command() -> None:
    """Run from the command line."""
    if "--help" in sys.argv[1:]:
        print("Note the versions of the libraries that results depend on, in data/versions.json.")
        raise SystemExit
    if sys.argv[1:]:
        error(f"versions takes no arguments, but got {sys.argv[1]!r}")
        raise SystemExit(2)
    try:
        main()
    except OSError as failed:
        error(in_one_line(failed))
        raise SystemExit(EXTERNAL) from None


if __name__ == "__main__":
    command()
