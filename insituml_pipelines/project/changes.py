"""What the template of the installed version has that a project's files have not."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from insituml_pipelines.project.record import Record, digest


class Change(NamedTuple):
    """How a file of a project differs from the installed version's template.

    Parameters
    ----------
    path
        In the project.
    by_template, by_user
        Whether the template's file, and whether the project's, is another than at the beginning.
    before, after
        The project's content and the template's; None: there is no such file.
    """

    path: str
    by_template: bool
    by_user: bool
    before: bytes | None
    after: bytes | None

    def in_words(self) -> str:
        """Say what was done to the file, and by whom."""
        if self.after is None:
            return "gone from the template" + (", changed by you" if self.by_user else "")
        if self.before is None:
            return "removed by you, changed in the template" if self.by_user else "new"
        return "changed in the template" + (" and by you: merge by hand" if self.by_user else "")

    def diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff from the project's file to the template's."""
        before, after = _lines(self.before), _lines(self.after)
        from_file = f"a/{self.path}" if self.before is not None else "/dev/null"
        to_file = f"b/{self.path}" if self.after is not None else "/dev/null"
        for line in difflib.unified_diff(before, after, from_file, to_file):
            yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def changes(project: Path, record: Record, files: Mapping[str, bytes]) -> list[Change]:
    """Return where a project differs from a template.

    Parameters
    ----------
    project
        Its folder.
    record
        What it was made from.
    files
        The template of the installed version.
    """
    found = []
    for path in sorted(record.digests.keys() | files.keys()):
        file = project / path
        before = file.read_bytes() if file.is_file() else None
        after = files.get(path)
        if before == after:
            continue
        was = record.digests.get(path)
        found.append(Change(path, was != _digest(after), was != _digest(before), before, after))
    return found


def _digest(content: bytes | None) -> str | None:
    return None if content is None else digest(content)


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode(errors="replace").splitlines(keepends=True)
