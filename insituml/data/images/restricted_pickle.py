"""Read a pickle that came from the web without running what is in it.

A pickle may name any function and call it. Here the few names that a pickled array of bytes needs
stand for classes of this file, which only collect the bytes, and every other name is refused: not
even numpy's own code sees what the file holds.
"""

from __future__ import annotations

import math
import pickle
from typing import Any, BinaryIO

import numpy as np


class RefusedPickleError(ValueError):
    """The pickle names something that plain data do not need."""


def load_plain(file: BinaryIO) -> Any:
    """Load a pickle of dictionaries, lists, tuples, numbers, strings and arrays of uint8.

    Strings written by Python 2 come back as bytes.

    Parameters
    ----------
    file
        Open at the pickle's beginning.

    Raises
    ------
    RefusedPickleError
        If it names anything else; nothing of it is imported or called.
    ValueError
        If it is truncated or no pickle.
    """
    try:
        return _with_arrays(_PlainUnpickler(file, encoding="bytes").load())
    except RefusedPickleError:
        raise
    except Exception as error:  # malformed bytes raise whatever they happen to run into
        raise ValueError(f"damaged or no pickle ({type(error).__name__}: {error})") from error


class _PickledType:
    """Stands for ``numpy.dtype``, of which only unsigned bytes are taken."""

    def __init__(self, code: bytes | str, *_: Any) -> None:
        if code not in (b"u1", "u1", b"|u1", "|u1"):
            raise RefusedPickleError(f"an array of type {code!r}; expected unsigned bytes, 'u1'")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Byte order and alignment mean nothing for bytes."""


class _PickledArray:
    """Stands for an array until its state has arrived."""

    values: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran_order, values = state
        if not isinstance(kind, _PickledType) or not isinstance(values, bytes):
            raise RefusedPickleError("an array that is not one of plain bytes")
        if len(values) != math.prod(shape):
            raise ValueError(f"an array of shape {shape} has {len(values)} bytes")
        order = "F" if fortran_order else "C"
        self.values = np.frombuffer(values, np.uint8).reshape(shape, order=order)  # type: ignore[call-overload]


class _ArrayClass:
    """Stands for ``numpy.ndarray`` where it is an argument of ``_reconstruct``; never built."""

    def __init__(self, *_: Any) -> None:
        raise RefusedPickleError("an array that is built, not loaded")


def _reconstruct(*_: Any) -> _PickledArray:
    return _PickledArray()


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, as Python 3 pickles them for Python 2."""
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _PickledType,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise RefusedPickleError(
                f"the pickle asks for {module}.{name}, which plain data do not need; it may be "
                "malicious, and nothing of it was run"
            )
        return _ADMITTED[module, name]


def _with_arrays(value: Any) -> Any:
    """Put the arrays in the places of their stand-ins."""
    if isinstance(value, _PickledArray):
        return value.values
    if isinstance(value, dict):
        return {key: _with_arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_arrays(item) for item in value)
    return value
