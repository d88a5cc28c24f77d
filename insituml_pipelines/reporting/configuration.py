"""How runs were configured, and in what they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from insituml_pipelines.reporting.blocks import Cell, Table
from insituml_pipelines.runs.identity import Identity

SECTIONS = ("model", "optimizer", "training", "method")
MISSING = "–"


def flat(identity: Identity) -> dict[str, str]:
    """Return the configuration of a run, by dotted key, as text."""
    found: dict[str, str] = {}
    for section in SECTIONS:
        _flatten(getattr(identity, section), section, found)
    return found


def _flatten(value: Any, name: str, found: dict[str, str]) -> None:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}", found)
    else:
        found[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def differing(configurations: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the keys in which configurations differ, or which some of them lack."""
    keys = dict.fromkeys(key for values in configurations.values() for key in values)
    return [key for key in keys if len({values.get(key) for values in configurations.values()}) > 1]


def differences_table(
    configurations: Mapping[str, Mapping[str, str]], labels: Sequence[str], name: str
) -> Table | None:
    """Return one row a key in which configurations differ; None where they are alike.

    Parameters
    ----------
    configurations
        By whose they are, as :func:`flat` returns them.
    labels
        What the columns are called.
    name
        Of the table.
    """
    keys = differing(configurations)
    if not keys:
        return None
    rows = [
        [Cell(key), *(Cell(_short(values.get(key))) for values in configurations.values())]
        for key in keys
    ]
    return Table(name, ["key", *labels], rows, f"{MISSING}: has no such key.")


def common_table(configurations: Mapping[str, Mapping[str, str]], name: str) -> Table | None:
    """Return what all configurations have in common."""
    first = next(iter(configurations.values()), {})
    unlike = set(differing(configurations))
    rows = [[Cell(key), Cell(_short(value))] for key, value in first.items() if key not in unlike]
    return Table(name, ["key", "value"], rows) if rows else None


def _short(value: str | None) -> str:
    if value is None:
        return MISSING
    return value.removeprefix("insituml.") if value else '""'
