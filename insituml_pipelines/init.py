"""Set up a project of one's own; later, see what a newer version of insituml would set up."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import say
from insituml_pipelines.common.project_folder import MARK, is_repository, project_of

DESCRIPTION = """Set up a project of your own, in which insituml is an installed package.

usage: insituml init FOLDER
       insituml init --diff | --update | --record

  FOLDER       new or empty; gets conf/, dvc.yaml, a model and a method of your own with a test, and
               a README with what to do next. A repository without files (git init) counts as empty

In a project, after an upgrade of insituml:

  --diff       show what this version's files have that the project's have not, as a unified diff of
               each file that changed in insituml; files that you alone changed are only named
  --update     take over those that you have not changed; nothing of yours is written over
  --record     note that the rest is merged, so that --diff shows it no more; also makes a folder
               with conf/ and dvc.yaml that lost its .insituml.json a project again
"""
EMPTY_ALL_THE_SAME = {".git"}


def set_up(folder: Path) -> None:
    """Make a project, whole or not at all.

    Raises
    ------
    UserError
        If the folder holds anything, or cannot be made.
    """
    from insituml_pipelines.project.record import record_text
    from insituml_pipelines.project.template import template

    folder = Path(os.path.abspath(folder))  # noqa: PTH100  (which leaves links as they are)
    check_free(folder)
    files = template(folder.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=".insituml-"))
        try:
            for path, content in {**files, MARK: record_text(folder.name, files)}.items():
                (aside / path).parent.mkdir(parents=True, exist_ok=True)
                (aside / path).write_bytes(content)
            # The mark is the last: with it the folder is a project.
            for entry in sorted(aside.iterdir(), key=lambda path: path.name == MARK):
                entry.rename(folder / entry.name)
        finally:
            shutil.rmtree(aside)
    except OSError as error:
        raise UserError(f"{folder} cannot be set up: {error.strerror or error}") from error


def check_free(folder: Path) -> None:
    """Refuse a folder that holds anything.

    Raises
    ------
    UserError
        Saying what lies there.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a new or empty folder")
    if (folder / MARK).exists():
        raise UserError(
            f"{folder} is a project already; what this version would change there shows, in it, "
            "insituml init --diff"
        )
    if held := sorted({entry.name for entry in folder.iterdir()} - EMPTY_ALL_THE_SAME):
        more = ", ..." if len(held) > 3 else ""
        raise UserError(
            f"{folder} holds {', '.join(held[:3])}{more}; expected a new or empty folder, such as "
            f"{shlex.quote(str(folder / 'project'))}"
        )


def main(given: list[str]) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = _refuse  # type: ignore[method-assign]
    parser.add_argument("folder", nargs="?", type=Path)
    asked = parser.add_mutually_exclusive_group()
    for name in ("diff", "update", "record"):
        asked.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args(given)
    catching_up = options.diff or options.update or options.record
    if catching_up and options.folder is not None:
        raise UserError("--diff, --update and --record are of the project here: give no folder")
    if not catching_up and options.folder is None:
        raise UserError("init has no folder; give a new one: insituml init FOLDER")
    if not catching_up:
        set_up(options.folder)
        say(_next(options.folder))
        return
    here = Path.cwd()
    project = project_of(here)
    if options.record and _lost_its_mark(here):
        project = here
    if project is None:
        raise UserError(f"{Path.cwd()} is in no project that insituml init made; change into one")
    from insituml_pipelines.project import upgrading

    if options.diff:
        upgrading.show(project)
    elif options.update:
        upgrading.update(project)
    else:
        upgrading.record(project)


def _lost_its_mark(folder: Path) -> bool:
    """Return whether a folder is a project but for its mark; a clone is none."""
    return is_repository(folder) and not (folder / "insituml_pipelines").is_dir()


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; see insituml init --help")


def _next(folder: Path) -> str:
    from insituml.version import __version__

    return f"""init: {folder} is a project of insituml {__version__} now; see its README.md
next:
  cd {shlex.quote(str(folder))}
  insituml new-experiment NAME data.path=SERIES   # of your own data; others: conf/experiment/
  insituml select experiment=NAME
  insituml repro"""


def command() -> None:
    """Run from the command line."""
    from insituml_pipelines.common.ending import failing_in_one_line

    with failing_in_one_line():
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(DESCRIPTION, end="")
        else:
            main(sys.argv[1:])


if __name__ == "__main__":
    command()
