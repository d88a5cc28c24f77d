"""Which project a command is run in, and with it, whose configuration counts."""

from __future__ import annotations

from pathlib import Path

from insituml_pipelines.common.errors import UserError

MARK = ".insituml.json"
"""Lies in the folder of a project that `insituml init` made."""
BUNDLED = Path(__file__).parents[1] / "project" / "repository"
"""What a wheel holds of the repository; in a clone there is no such folder."""


def project_of(folder: Path) -> Path | None:
    """Return the project that a folder is, or lies in; None: it is in none."""
    return next((f for f in (folder, *folder.parents) if (f / MARK).is_file()), None)


def repository() -> Path:
    """Return where ``conf/`` and ``dvc.yaml`` of this version lie: bundled, or in the clone."""
    # A folder called conf beside an installed package would be somebody else's.
    return BUNDLED if BUNDLED.is_dir() else Path(__file__).parents[2]


def configuration() -> Path:
    """Return the folder of the configuration: the project's own, or this version's where none is.

    A clone is no project of a user's: there, and in folders that are nowhere, its own counts.
    """
    return (project_of(Path.cwd()) or repository()) / "conf"


def check_own(conf: Path) -> None:
    """Refuse to write into the configuration of an installed package.

    Raises
    ------
    UserError
        Saying how to get one of one's own.
    """
    if BUNDLED in conf.parents:
        raise UserError(
            f"{Path.cwd()} is in no project, whose conf/ this would be written into; change into "
            "yours, or make one: insituml init FOLDER"
        )
