"""Digests of code that is no file of the project's graph: of insituml, and of own classes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import yaml

from insituml_pipelines.common.project_folder import repository
from insituml_pipelines.project.graph import code_of_stages

INSTALLED = Path(__file__).parents[2]
"""The folder in which the packages of insituml lie."""
GROUPS = ("experiment", "data", "model", "optimizer", "method")
"""Groups of ``conf/`` whose files may name a class of the user's own."""


def code_digests() -> dict[str, str]:
    """Return for each stage a digest of the files of insituml that it runs."""
    text = (repository() / "dvc.yaml").read_text(encoding="utf-8")
    return {
        stage: _digest(INSTALLED, _files(INSTALLED, parts))
        for stage, parts in code_of_stages(text).items()
    }


def own_digests(project: Path) -> dict[str, dict[str, str | None]]:
    """Return for each file of each group of ``conf/`` a digest of the own modules that it names.

    Files of the group that it goes on from count, and what these modules import from the project's
    folder. None: it names none.
    """
    return {
        group: {
            file.stem: _own(file, project)
            for file in sorted((project / "conf" / group).glob("*.yaml"))
        }
        for group in GROUPS
    }


def _own(file: Path, project: Path) -> str | None:
    text = "\n".join(each.read_text(encoding="utf-8") for each in _with_bases(file))
    targets = re.findall(r"_target_: *[\"']?([\w.]+)", text)
    modules: set[Path] = set()
    waiting = {target.rpartition(".")[0] for target in targets}
    while waiting:
        found = _file_of(waiting.pop(), project)
        if found is not None and found not in modules:
            modules.add(found)
            waiting |= _imported_by(found, project)
            # Python runs the __init__.py of each package that holds a module.
            parts = found.relative_to(project).parts[:-1]
            waiting |= {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    return _digest(project, modules) if modules else None


def _with_bases(file: Path) -> list[Path]:
    """Return a file and, by its ``defaults``, those of its group that it goes on from."""
    found: list[Path] = []
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each in found or not each.is_file():
            continue
        found.append(each)
        try:
            loaded = yaml.safe_load(each.read_text(encoding="utf-8"))
        except yaml.YAMLError:  # which the stage that reads it will say
            continue
        bases = (loaded.get("defaults") if isinstance(loaded, dict) else None) or ()
        waiting += [file.with_name(f"{base}.yaml") for base in bases if isinstance(base, str)]
    return found


def _file_of(module: str, project: Path) -> Path | None:
    """Return the file of the project that a module, or what holds it, is; None: none is."""
    parts = module.split(".")
    while parts and parts[0]:
        place = project.joinpath(*parts)
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                return file
        parts.pop()
    return None


def _imported_by(file: Path, project: Path) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # which the stage that imports it will say
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            try:
                above = (
                    file.parents[node.level - 1].relative_to(project).parts if node.level else ()
                )
            except (ValueError, IndexError):  # above the project, which Python refuses too
                continue
            base = [*above, node.module] if node.module else above
            names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def _files(folder: Path, parts: Iterable[str]) -> set[Path]:
    found: set[Path] = set()
    for part in parts:
        path = folder / part
        found |= set(path.rglob("*")) if path.is_dir() else {path}
    return {path for path in found if path.is_file() and path.suffix != ".pyc"}


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 of the names and contents of files."""
    whole = sha256()
    for file in sorted(files):
        name = file.relative_to(folder).as_posix()
        whole.update(f"{name}\n{sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()
