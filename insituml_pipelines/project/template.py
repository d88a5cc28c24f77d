"""What a project is given: the repository's configuration, and files that only a project has."""

from __future__ import annotations

import re
from pathlib import Path

from insituml_pipelines.common.project_folder import repository
from insituml_pipelines.project.graph import graph_of_project

FILES = Path(__file__).with_name("files")
"""What only a project has."""
AS_THEY_ARE = ("conf", ".dvc/plots", ".dvc/config", ".dvc/.gitignore", ".dvcignore")
"""Files and folders of the repository that a project has too."""
GRAPH, DVC = "dvc.yaml", ".dvc/config"
IGNORED = ".gitignore"
BUNDLED_PARTS = (*AS_THEY_ARE, GRAPH, IGNORED)
"""What a wheel holds of the repository beside the packages: setup.py copies it."""
OF_A_CLONE = ("# images that the scripts", "# of this machine")
"""How paragraphs of the repository's ``.gitignore`` begin that say nothing of a project."""


def template(name: str = "project") -> dict[str, bytes]:
    """Return the content of each file of a new project, by its path.

    Parameters
    ----------
    name
        Of the project, for the heading of its README.
    """
    above = repository()
    found: dict[str, bytes] = {}
    for part in AS_THEY_ARE:
        path = above / part
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
        found |= {file.relative_to(above).as_posix(): file.read_bytes() for file in files}
    found[GRAPH] = graph_of_project((above / GRAPH).read_text(encoding="utf-8")).encode()
    found[IGNORED] = _ignored((above / IGNORED).read_text(encoding="utf-8")).encode()
    found[DVC] = _without_scm(found[DVC].decode()).encode()
    for file in sorted(f for f in FILES.rglob("*") if f.is_file() and f.suffix != ".pyc"):
        content = file.read_bytes().replace(b"PROJECT_NAME", name.encode())
        found[file.relative_to(FILES).as_posix()] = content
    return dict(sorted(found.items()))


def _without_scm(text: str) -> str:
    """Let DVC ask for no repository, whatever whoever built this asked of theirs (a baseline)."""
    replaced, count = re.subn(r"(?m)^(\s*no_scm\s*=).*$", r"\1 true", text)
    return replaced if count else text.replace("[core]\n", "[core]\n    no_scm = true\n", 1)


def _ignored(text: str) -> str:
    """Return what Git ignores in a project: there, ``dvc.lock`` is one's own to commit."""
    paragraphs = text.rstrip().split("\n\n")
    return "\n\n".join(p for p in paragraphs if not p.startswith(OF_A_CLONE)) + "\n"
