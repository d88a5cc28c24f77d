"""What goes into the tracking store, and whether it can, without MLflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pipelines.common.node import Node


def check_writable(database: Path) -> None:
    """Raise at once where MLflow would try again and again, for minutes."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT count(*) FROM sqlite_master")
        connection.rollback()


def flat(node: Node, prefix: str) -> Node:
    """Flatten nested dictionaries to dotted keys."""
    found: Node = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}.{key}"))
        else:
            found[f"{prefix}.{key}"] = value
    return found
