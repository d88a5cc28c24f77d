"""Nodes with a ``_target_``: their options checked against what they build, and built."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from insituml_pipelines.common.domains import out_of_domain
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.located import located
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.schema import explain

GIVEN = {"params"}
"""What an optimizer is given by whoever builds it."""


@dataclass(frozen=True)
class Options:
    """What can be given to a target by name.

    Parameters
    ----------
    names
        All of them, in order.
    required
        Those of the target's own without a default.
    positional
        Those that Python takes by their place alone, in order.
    hints
        Annotations that can be checked: plain types, not tensors or optimizers' unions.
    swallows
        Whether names that are not known are taken too, by a ``**`` argument of a user's own code.
    takes_generator
        Whether a ``torch.Generator`` can be given as ``generator``.
    dtypes
        Those that are for a ``torch.dtype``, which a configuration can only name.
    """

    names: tuple[str, ...]
    required: tuple[str, ...]
    positional: tuple[str, ...]
    hints: Node
    swallows: bool
    takes_generator: bool
    dtypes: tuple[str, ...]


def options_of(target: Any) -> Options:
    """Look at what a class or function takes; a ``**`` argument is handed on to the base class."""
    found: dict[str, inspect.Parameter] = {}
    hints: Node = {}
    functions = _functions(target)
    for function, parameters in functions:
        known = _hints(function)
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                if parameter.name not in found and parameter.name in known:
                    hints[parameter.name] = known[parameter.name]
                found.setdefault(parameter.name, parameter)
    generator = found.get("generator")
    takes_generator = generator is not None and _is_torchs(hints.get("generator"))
    names = [n for n in found if n not in GIVEN and not (n == "generator" and takes_generator)]
    first = functions[0][0]
    own = inspect.isfunction(first) and not first.__module__.startswith(
        ("insituml.", "insituml_pipelines.")
    )
    return Options(
        names=tuple(names),
        required=tuple(p.name for p in functions[0][1] if p.name in names and p.default is p.empty),
        positional=tuple(n for n in names if found[n].kind is inspect.Parameter.POSITIONAL_ONLY),
        hints={name: hint for name, hint in hints.items() if "torch" not in str(hint)},
        swallows=own and _has_keywords(functions[0][1]),
        takes_generator=takes_generator,
        dtypes=tuple(name for name, hint in hints.items() if "torch.dtype" in str(hint)),
    )


def validate_target(node: Node, name: str) -> None:
    """Check a ``_target_`` node's arguments against the signature of what it builds.

    Nodes among its arguments, and in lists of them, are checked in the same way.

    Raises
    ------
    UserError
        If the target cannot be imported, an argument is unknown, missing or has the wrong type, or
        a node is built where a function that builds it is expected.
    """
    path = str(node.get("_target_"))
    target = located(node.get("_target_"), name)
    if hasattr(target, "state_dict") and not isinstance(target, type):
        raise UserError(
            f"{name}._target_ is {path!r}, which is built already; name its class, "
            f"{type(target).__name__}, or a function that builds one"
        )
    options = options_of(target)
    for key, value in node.items():
        if is_hydras(key):
            continue
        if key not in options.names and not options.swallows:
            raise UserError(
                f"{name}.{key} is not an option of {path}; "
                f"accepted: {', '.join(sorted(options.names)) or 'none'}"
            )
        for place, nested in _nodes(value, f"{name}.{key}"):
            _check_partial(nested, place, options.hints.get(key))
            validate_target(nested, place)
        place = f"{name}.{key}"
        if wrong := misfit(options, key, value, place) or out_of_domain(path, key, value, place):
            raise UserError(wrong)


def check_complete(node: Node, name: str) -> None:
    """Refuse a node that lacks an argument without a default.

    Raises
    ------
    UserError
        Naming the argument.
    """
    options = options_of(located(node.get("_target_"), name))
    for key in options.required if "_args_" not in node else ():
        if key not in node:
            raise UserError(
                f"{name}.{key} has no value, but {node['_target_']} needs one; give it: "
                f"+{name}.{key}=..."
            )


def misfit(options: Options, key: str, value: Any, place: str) -> str:
    """Say what is wrong with the type of an option's value; empty where nothing is."""
    if key not in options.hints or _nodes(value, ""):
        return ""
    try:
        TypeAdapter(options.hints[key]).validate_python(value)
    except ValidationError as error:
        return explain(error, place)
    except PydanticUserError:  # a type of the user's own, of which pydantic knows nothing
        return ""
    return ""


def build(node: Node, *positional: Any, generator: Any = None) -> Any:
    """Build a node; an error is the constructor's own, without Hydra's wrapping.

    Parameters
    ----------
    node
        A ``_target_`` with its arguments.
    *positional
        Given before these.
    generator
        Given as ``generator`` where the target takes one.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    options = options_of(located(node.get("_target_"), "node"))
    node = {key: _dtype(value) if key in options.dtypes else value for key, value in node.items()}
    by_place = [key for key in options.positional if key in node]
    named = {k: v for k, v in node.items() if k not in (*by_place, *options.dtypes)}
    arguments = [*positional, *(node[key] for key in by_place)]
    offered = {key: node[key] for key in options.dtypes if key in node}
    if generator is not None and options.takes_generator:
        offered["generator"] = generator
    try:
        return instantiate(named, *arguments, _convert_="all", **offered)
    except InstantiationException as error:
        raise error.__cause__ or error from None


def _dtype(name: Any) -> Any:
    """Return the ``torch.dtype`` of a name such as ``"float16"``."""
    import torch

    if not isinstance(name, str):
        return name
    found = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name!r} is no dtype of torch; expected one such as 'float16'")
    return found


def is_hydras(key: str) -> bool:
    """Whether a key is one of Hydra's own, such as ``_target_``."""
    return key.startswith("_") and key.endswith("_")


def _nodes(value: Any, name: str) -> list[tuple[str, Node]]:
    """Return the ``_target_`` nodes that a value is, or that a list holds, and their places."""
    entries = [(f"{name}.{i}", v) for i, v in enumerate(value)] if isinstance(value, list) else []
    return [(n, v) for n, v in [(name, value), *entries] if isinstance(v, dict) and "_target_" in v]


def _check_partial(node: Node, name: str, hint: Any) -> None:
    """Where a function is expected, or a list of them, a node must not be built at once."""
    kinds = [typing.get_origin(h) for h in (hint, *typing.get_args(hint))]
    if Callable in kinds and not node.get("_partial_"):
        raise UserError(f"{name} is built by what it is given to; it needs {name}._partial_=true")


def _functions(target: Any) -> list[tuple[Any, list[inspect.Parameter]]]:
    """Return what takes a target's arguments, each with its parameters, the target's own first."""
    if not isinstance(target, type):
        return [(target, _parameters(target))]
    found = []
    for cls in target.__mro__:
        if "__init__" in vars(cls):
            parameters = _parameters(vars(cls)["__init__"])[1:]  # but self
            found.append((vars(cls)["__init__"], parameters))
            if not _has_keywords(parameters):
                break
    return found


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a function in C that does not say
        return []


def _has_keywords(parameters: list[inspect.Parameter]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _hints(function: Any) -> Node:
    function = getattr(function, "func", function)  # of functools.partial
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # names that are known to type checkers alone
        return {}


def _is_torchs(hint: Any) -> bool:
    """Whether a parameter called ``generator`` is for torch's: no other type is named."""
    return hint is None or "torch" in str(hint)
