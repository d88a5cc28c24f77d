"""From plain values, as JSON and checkpoints hold them, to the dataclass that they were."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

SIMPLE: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (float, int),
    type(None): (type(None),),
}


def typed(hint: Any, value: Any, where: str = "") -> Any:
    """Return ``value`` as the type that ``hint`` names, all of it checked.

    Lists become tuples where these are meant, keys of a mapping numbers, a dictionary a dataclass.

    Parameters
    ----------
    hint
        A dataclass, a simple type, or a tuple, a mapping or a union of these.
    value
        Plain: what ``json.loads`` returns.
    where
        Dotted name of the value, which messages begin with.

    Raises
    ------
    ValueError
        If a value has another type, or a key is missing or unknown.
    """
    if hint is Any:
        return value
    if hint in SIMPLE:
        if type(value) not in SIMPLE[hint]:
            raise ValueError(f"{where} is {_short(value)}, not a {hint.__name__}")
        return hint(value) if hint is float else value
    if hint is np.ndarray:
        numbers = typed(tuple[float, ...], value, where)
        return np.array(numbers, dtype=np.float64)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (other,) = (part for part in parts if part is not type(None))
        return None if value is None else typed(other, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} is {_short(value)}, not a list")
        return tuple(typed(parts[0], item, f"{where}[{k}]") for k, item in enumerate(value))
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {_short(value)}, not a dictionary")
    return {_key(parts[0], k, where): typed(parts[1], v, f"{where}.{k}") for k, v in value.items()}


def _dataclass(hint: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where or 'it'} is {_short(value)}, not a dictionary")
    hints = typing.get_type_hints(hint)
    fields = {field.name: field for field in dataclasses.fields(hint)}
    if unknown := [key for key in value if key not in fields]:
        raise ValueError(f"{_inside(where, str(unknown[0])[:50])} is no key of it")
    for name, field in fields.items():
        defaults = (field.default, field.default_factory)
        if name not in value and all(d is dataclasses.MISSING for d in defaults):
            raise ValueError(f"{_inside(where, name)} is missing")
    return hint(**{k: typed(hints[k], item, _inside(where, k)) for k, item in value.items()})


def _key(hint: Any, key: Any, where: str) -> Any:
    """JSON has keys that are strings alone."""
    try:
        return hint(key) if hint is int else key
    except (TypeError, ValueError):
        raise ValueError(f"{where} has the key {_short(key)}, not a number") from None


def _inside(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 50 else f"{text[:47]}..."
