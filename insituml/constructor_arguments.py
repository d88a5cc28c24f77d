"""What a model was built from, remembered so that a checkpoint can build it again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

POSITIONAL = "*"
"""Key of the arguments that only their position names."""

_PLAIN = (type(None), bool, int, float, complex, str, torch.dtype, torch.device, torch.Size)


def recorded_arguments(
    constructor: Callable[..., None], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments by name, as they are now: what the constructor does to them is not seen.

    Those that only their position names are listed below :data:`POSITIONAL`. Defaults are left
    out.

    Raises
    ------
    TypeError
        If the constructor does not take them.
    """
    signature = inspect.signature(constructor)
    by_position = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL}
    bound = signature.bind_partial(model, *args, **kwargs).arguments
    if args and any(p.kind in by_position for p in list(signature.parameters.values())[1:]):
        return _copied({POSITIONAL: list(args), **kwargs})
    bound.pop(next(iter(bound)))
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            bound.update(bound.pop(parameter.name, {}))
    return _copied(dict(bound))


def storable_arguments(owner: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what a checkpoint stores of arguments, and the names of those it need not store.

    These are generators: they only draw the initial weights, which a checkpoint replaces. Numbers
    of NumPy become Python's.

    Parameters
    ----------
    owner
        Name of the class, for the message.
    arguments
        From :func:`recorded_arguments`.

    Raises
    ------
    ValueError
        If an argument would come back as something else; it names class, argument and type.
    """
    generators = sorted(k for k, v in arguments.items() if isinstance(v, torch.Generator))
    others = {key: value for key, value in arguments.items() if key not in generators}
    return {key: _storable(value, f"{owner}({key}=...)") for key, value in others.items()}, (
        generators
    )


def call_arguments(
    arguments: dict[str, Any], generators: list[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and named arguments for one call, which may change them.

    In place of each generator stands a new one with seed 0.
    """
    named = _copied(arguments)
    named |= {name: torch.Generator().manual_seed(0) for name in generators}
    return list(named.pop(POSITIONAL, ())), named


def _copied(value: Any) -> Any:
    """Copy containers, tensors and arrays; share what no checkpoint holds."""
    if isinstance(value, nn.Parameter):
        return value
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copied(item) for item in value)
    if isinstance(value, dict | set | bytearray | np.ndarray):
        return value.copy()
    return value


def _storable(value: Any, where: str) -> Any:
    if type(value) in _PLAIN or type(value) is Tensor:
        return value
    if isinstance(value, np.bool | np.integer | np.floating | np.complexfloating):
        plain = value.item()
        if type(plain) in _PLAIN:
            return plain
    if type(value) in (list, tuple):
        return type(value)(_storable(v, f"{where}[{k}]") for k, v in enumerate(value))
    if type(value) is dict:
        return {
            _storable(k, f"{where} key"): _storable(v, f"{where}[{k!r}]") for k, v in value.items()
        }
    cls = type(value)
    raise ValueError(
        f"{where} is a {cls.__module__}.{cls.__qualname__}, which a checkpoint cannot hold: "
        "expected numbers, strings, tensors, None, or lists, tuples and dictionaries of these. "
        "Pass a name or numbers, and let the constructor make the rest of it"
    )
