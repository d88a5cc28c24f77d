"""From the name that a ``_target_`` gives to the object, or one line that says why not."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.project_folder import project_of
from insituml_pipelines.common.reasons import in_words

SHOWN = 8
"""Names that a message lists at most."""


def find_from_here() -> None:
    """Let modules of the working directory, and of the project, be imported, here and by workers.

    Python itself does so for ``python -m``, but not with ``-P`` or ``PYTHONSAFEPATH``, and never
    for the folder of a project from below it.
    """
    here = Path.cwd()
    if not {str(here), ""} & set(sys.path):
        sys.path.append(str(here))
    project = project_of(here)
    if project not in (None, here) and str(project) not in sys.path:
        sys.path.append(str(project))


def located(path: Any, name: str) -> Any:
    """Return the class or function that a full name is of.

    Parameters
    ----------
    path
        Such as ``"mymodel.MyModel"``.
    name
        What the configuration calls the node, such as ``"model"``.

    Raises
    ------
    UserError
        Saying which module cannot be imported and why, or which names there are.
    """
    where = f"{name}._target_ is {path!r}"
    parts = path.split(".") if isinstance(path, str) else []
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        if isinstance(path, str) and re.fullmatch(r"[\w./]+:\w+", path):
            as_name = path.replace(".py:", ":").replace("/", ".").replace(":", ".")
            raise UserError(f"{where}; did you mean {as_name}?")
        raise UserError(
            f"{where}; give the full name of a class or function, such as mymodel.MyModel of "
            "the file mymodel.py"
        )
    owner: Any = _module(parts[0], where)
    if owner is None:
        raise UserError(f"{where}, but there is no module {parts[0]}{_nearby(parts[0])}")
    for index, part in enumerate(parts[1:], 1):
        child = getattr(owner, part, None)
        if child is None and isinstance(owner, ModuleType):
            child = _module(".".join(parts[: index + 1]), where)
        if child is None:
            raise UserError(
                f"{where}, but {'.'.join(parts[:index])} has no {part}{_close(owner, part)}"
            )
        owner = child
    if not callable(owner):
        kind = "module" if isinstance(owner, ModuleType) else type(owner).__name__
        raise UserError(f"{where}, which is a {kind}{_close(owner, '')}; name a class or function")
    return owner


def _module(module: str, where: str) -> ModuleType | None:
    """Import a module; None if there is none of this name."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            return None
        raise UserError(
            f"{where}, but {module} imports {error.name}, which is not installed here"
        ) from error
    except SyntaxError as error:
        place = f"{Path(error.filename or module).name}, line {error.lineno}"
        raise UserError(f"{where}, but {place}: {type(error).__name__}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # whatever a user's module may raise
        raise UserError(f"{where}, but {module} cannot be imported: {in_words(error)}") from error


def _nearby(name: str) -> str:
    """Say what of a similar name lies in the working directory."""
    here = Path.cwd()
    files = {f.stem for f in here.glob("*.py")} | {
        f.parent.name for f in here.glob("*/__init__.py")
    }
    close = difflib.get_close_matches(name, sorted(files), n=1)
    looked = f" in {here}, nor one that is installed"
    return f"{looked}; did you mean {close[0]}?" if close else looked


def _close(owner: Any, name: str) -> str:
    """Say what of a similar name an object has, or all that it defines."""
    names = [n for n in dir(owner) if not n.startswith("_")]
    if isinstance(owner, ModuleType):
        own = getattr(owner, "__all__", None) or [
            n for n in names if getattr(getattr(owner, n, None), "__module__", "") == owner.__name__
        ]
        names = list(own) or names
    else:
        names = []
    if close := difflib.get_close_matches(name, names, n=1) if name else []:
        return f"; did you mean {close[0]}?"
    more = ", ..." if len(names) > SHOWN else ""
    return f"; it has {', '.join(sorted(names)[:SHOWN])}{more}" if names else ""
