"""What goes into the tracking store, as MLflow takes it."""

from __future__ import annotations

from insituml_pipelines.common.node import Node


def flat(node: Node, prefix: str) -> Node:
    """Flatten nested dictionaries to dotted keys."""
    found: Node = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}.{key}"))
        else:
            found[f"{prefix}.{key}"] = value
    return found
