"""A project and the template of the installed version: show, take over, note as merged."""

from __future__ import annotations

import sys
from pathlib import Path

from insituml.atomic_file import write_atomically, write_json
from insituml.version import __version__
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import say
from insituml_pipelines.common.project_folder import MARK
from insituml_pipelines.project.changes import Change, changes
from insituml_pipelines.project.record import digest, read_record, record_text
from insituml_pipelines.project.template import template


def show(project: Path) -> None:
    """Print what this version's template has that the project has not."""
    made = read_record(project)
    found = changes(project, made, template(made.name))
    for change in (c for c in found if c.by_template):
        print(f"# {change.path}: {change.in_words()}")
        print(*change.diff(), sep="", end="", flush=True)
    _say(_summary(made.version, found))


def update(project: Path) -> None:
    """Write the template's files over those that are as they were when the project was made."""
    made = read_record(project)
    files = template(made.name)
    found = changes(project, made, files)
    taken = {c.path: c.after for c in found if _can_be_taken(c) and c.after is not None}
    for path, text in taken.items():
        write_atomically(project / path, text)
        say(f"update: {path}")
    # What equals the template, by this or by hand, is caught up; the rest is still to be merged.
    left = {change.path for change in changes(project, made, files) if change.by_template}
    digests = {path: digest(text) for path, text in files.items() if path not in left}
    digests |= {path: was for path, was in made.digests.items() if path in left}
    version = made.version if left else __version__
    content = {"insituml": version, "name": made.name, "template": dict(sorted(digests.items()))}
    write_json(project / MARK, content)
    _say(f"{len(taken)} files taken over; {_summary(version, changes(project, made, files))}")


def record(project: Path) -> None:
    """Note that the project has of this version's template what its user wants of it."""
    name = _name(project)
    write_atomically(project / MARK, record_text(name, template(name)))
    _say(f"the project counts as of insituml {__version__} now")


def _name(project: Path) -> str:
    try:
        return read_record(project).name
    except UserError:  # a damaged record, which is about to be written anew
        return project.resolve().name


def _can_be_taken(change: Change) -> bool:
    return change.by_template and not change.by_user


def _summary(version: str, found: list[Change]) -> str:
    theirs = [c.path for c in found if c.by_template]
    yours = [c.path for c in found if not c.by_template]
    said = f"{len(theirs)} files differ by what changed in insituml"
    if version != __version__:
        said += f" from {version} to {__version__}"
    return f"{said}; yours alone: {', '.join(yours) or 'none'}"


def _say(text: str) -> None:
    print(f"init: {text}", file=sys.stderr)
