"""The JSON files that stages leave for each other, read as what they should hold."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from insituml.safe_reading import DamagedFileError, read_json
from insituml_pipelines.common.errors import UserError

T = TypeVar("T")


def read_record(kind: type[T], path: Path, again: str) -> T:
    """Return the dataclass that a file holds.

    Parameters
    ----------
    kind
        The dataclass; its fields' types are checked.
    path
        A JSON file.
    again
        What makes it again, such as ``"run `insituml generate` again"``.

    Raises
    ------
    FileNotFoundError
        If there is none.
    UserError
        If it is damaged, or was written by another version.
    """
    content = read_plain(path, again)
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no dictionary; {again}")
    if differing := sorted(map(str, content.keys() ^ {field.name for field in fields(kind)})):  # type: ignore[arg-type]
        raise UserError(
            f"{path} was written by another version of insituml, or changed (it differs in "
            f"{', '.join(differing)[:200]}); {again}"
        )
    return checked(TypeAdapter(kind), content, path, again)


def read_plain(path: Path, again: str) -> Any:
    """Return the plain values that a file holds; errors are those of :func:`read_record`."""
    try:
        return read_json(path)
    except DamagedFileError as error:
        raise UserError(f"{error}; {again}") from error


def checked(adapter: TypeAdapter[Any], content: Any, path: Path, again: str) -> Any:
    """Return plain values as a type, of which ``path`` is to hold them.

    Raises
    ------
    UserError
        Naming the first value that is not.
    """
    try:
        # As JSON: dataclasses are then built of dictionaries, and numbers of nothing but numbers.
        return adapter.validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path} is damaged: {where} is {str(first['input'])[:60]!r}, "
            f"{first['msg'].lower()}; {again}"
        ) from error
