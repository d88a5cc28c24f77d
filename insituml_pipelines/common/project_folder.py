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


def nearest_configuration() -> Path:
    """Return the folder of the configuration that lies here or above, or else the one that counts.

    Where they differ, a command is refused (:func:`check_counts`); until then it is this one that
    whoever stands here means.
    """
    here = Path.cwd()
    own = next((folder for folder in (here, *here.parents) if _has_configuration(folder)), None)
    return own / "conf" if own is not None else configuration()


def check_counts(conf: Path) -> None:
    """Refuse a configuration in a folder that has one of its own, which would count for nothing.

    So it is in a second clone while the first one's environment is active, and in a project that
    has lost its mark.

    Raises
    ------
    UserError
        Naming both folders, and how to let the own one count.
    """
    here = Path.cwd()
    own = next((folder for folder in (here, *here.parents) if _has_configuration(folder)), None)
    if own is None or (own / MARK).is_file() or (own / "conf").resolve() == conf.resolve():
        return
    if (own / "insituml_pipelines").is_dir():
        fix = "activate this clone's own environment, or call python -m insituml_pipelines.NAME"
    else:
        fix = "let it be a project again by, in it, insituml init --record"
    raise UserError(f"{own / 'conf'} lies here, but {conf} would count; {fix}")


def _has_configuration(folder: Path) -> bool:
    return (folder / MARK).is_file() or is_repository(folder)


def is_repository(folder: Path) -> bool:
    """Return whether a folder looks like a clone, or like a project without its mark."""
    return (folder / "dvc.yaml").is_file() and (folder / "conf/config.yaml").is_file()


def check_own(conf: Path) -> None:
    """Refuse to write into a configuration that is not of the project here.

    Raises
    ------
    UserError
        Saying how to get one of one's own.
    """
    check_counts(conf)
    here = Path.cwd().resolve()
    if BUNDLED in conf.parents or conf.resolve().parent not in (here, *here.parents):
        raise UserError(
            f"{Path.cwd()} is in no project, whose conf/ this would be written into; change into "
            "yours, or make one: insituml init FOLDER"
        )
