"""Which version of the template a project was made from: a small file that is kept with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from insituml.version import __version__
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.project_folder import MARK


class Record(NamedTuple):
    """What a project was made from.

    Parameters
    ----------
    version
        Of insituml.
    name
        Of the project, as its README was given it.
    digests
        SHA-256 of each file of the template, by its path.
    """

    version: str
    name: str
    digests: dict[str, str]


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return sha256(content).hexdigest()


def record_text(name: str, files: Mapping[str, bytes]) -> bytes:
    """Return the content of the record of a template of the present version."""
    digests = {path: digest(content) for path, content in files.items()}
    content = {"insituml": __version__, "name": name, "template": digests}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def read_record(project: Path) -> Record:
    """Read what a project was made from.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    file = project / MARK
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Record(str(content["insituml"]), str(content["name"]), dict(content["template"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is no record of a template ({error!r}); bring it back from your version "
            "control, or write it anew by insituml init --record"
        ) from error
