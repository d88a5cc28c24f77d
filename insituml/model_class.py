"""Which classes a file may name: nothing is imported for its sake alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from insituml.learner import ContinualLearner

Trusted = type[ContinualLearner] | ModuleType | str
"""A class, a module, or the name of one whose learners may be built."""


class UntrustedModelError(ValueError):
    """A file names a model's class that the caller has not said to trust."""


def class_name(cls: type) -> str:
    """Return what a file calls a class, ``module:name``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def trusted_class(
    named: str, trust: Trusted | Iterable[Trusted], where: str
) -> type[ContinualLearner]:
    """Return the class that a file names, if it may be built.

    These may be: the library's own, those in ``trust``, and learners that the program has defined
    or imported already. Only modules of the library and those in ``trust`` are imported.

    Parameters
    ----------
    named
        ``module:name``.
    trust
        Classes, modules, or names of modules, which trust what lies below them too.
    where
        The file, for messages.

    Raises
    ------
    UntrustedModelError
        If it may not be built; the message says what to pass.
    ValueError
        If it cannot be imported, or is no learner.
    TypeError
        If ``trust`` holds something else.
    """
    module, _, name = named.partition(":")
    classes, modules = _sorted(trust)
    for cls in classes:
        same_script = "__main__" in (module, cls.__module__) and cls.__qualname__ == name
        if class_name(cls) == named or same_script:
            return cls
    if any(module == allowed or module.startswith(f"{allowed}.") for allowed in modules):
        return _imported(named, where)
    known = [cls for cls in _learners(ContinualLearner) if class_name(cls) == named]
    current = _attribute(sys.modules.get(module), name)
    if current in known or len(known) == 1:
        return current if current in known else known[0]
    if known:
        raise UntrustedModelError(
            f"{where} holds a {named}, and there are {len(known)} classes of that name; pass the "
            f"one that is meant: trust={name.rpartition('.')[2]}"
        )
    raise UntrustedModelError(
        f"{where} holds a {named}, which is none of insituml's models and not imported yet; if you "
        f"trust the file, name it: load_checkpoint(path, trust={module!r}), or in a command "
        f"model._target_={named.replace(':', '.')}"
    )


def _sorted(
    trust: Trusted | Iterable[Trusted],
) -> tuple[list[type[ContinualLearner]], list[str]]:
    items: list[Any] = [trust] if isinstance(trust, str | ModuleType | type) else list(trust)
    classes, modules = [], ["insituml"]
    for item in items:
        if isinstance(item, ModuleType):
            modules.append(item.__name__)
        elif isinstance(item, str) and item:
            modules.append(item.partition(":")[0])
        elif isinstance(item, type) and issubclass(item, ContinualLearner):
            classes.append(item)
        else:
            raise TypeError(
                f"trust holds {item!r}; expected classes of learners, modules, or their names"
            )
    return classes, modules


def _learners(cls: type[ContinualLearner]) -> Iterator[type[ContinualLearner]]:
    for below in cls.__subclasses__():
        yield below
        yield from _learners(below)


def _imported(named: str, where: str) -> type[ContinualLearner]:
    module, _, name = named.partition(":")
    try:
        found = _attribute(importlib.import_module(module), name)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{where} holds a {named}, which cannot be imported here ({reason}); put its module "
            "on the Python path"
        ) from error
    if found is None:
        raise ValueError(
            f"{where} holds a {named}, which cannot be imported here (module {module} has no "
            f"{name}); pass the class under its new name: trust=..."
        )
    if not (isinstance(found, type) and issubclass(found, ContinualLearner)):
        raise ValueError(f"{where} names {named}, which is no ContinualLearner")
    return found


def _attribute(module: ModuleType | None, name: str) -> Any:
    """Return a class by its qualified name, looking into modules and classes alone."""
    found: Any = module
    for part in name.split("."):
        if not isinstance(found, ModuleType | type):
            return None
        found = getattr(found, part, None)
    return found
