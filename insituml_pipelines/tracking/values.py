"""What goes into the tracking store, as MLflow takes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.node import Node

if TYPE_CHECKING:
    from mlflow.entities import Dataset


def flat(node: Node, prefix: str) -> Node:
    """Flatten nested dictionaries to dotted keys."""
    found: Node = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}.{key}"))
        else:
            found[f"{prefix}.{key}"] = value
    return found


def dataset_of(data: dict[str, Any]) -> Dataset:
    """Return what a run learned from, by name, digest, folder and profile."""
    from mlflow.entities import Dataset

    return Dataset(
        name=data["name"],
        digest=data["digest"],
        source_type="local",
        source=json.dumps({"uri": data["folder"]}),
        profile=json.dumps(data["profile"]),
    )
