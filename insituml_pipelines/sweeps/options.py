"""Which options a file of a configuration group has, with all that it inherits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from insituml_pipelines.common.composition import CONF, composed


def unknown_part(key: str, choice: str, search_path: Sequence[str] = ()) -> str | None:
    """Return the shortest part of a key that a file does not have; None: it has all of it.

    Parameters
    ----------
    key
        Such as ``method.memory.capacity_bytes``: of ``naive`` the part is ``method.memory``.
    choice
        Name of the file in the group that the key begins with.
    search_path
        The override by which further files are found; see ``Arguments.search_path``.
    """
    group, *parts = key.split(".")
    node = _section(CONF, tuple(search_path), group, choice)
    if node is None:
        return group
    known = group
    for part in parts:
        if isinstance(node, str) and "${" in node:  # what it refers to has it, or composing says
            return None
        known = f"{known}.{part}"
        if not isinstance(node, dict) or part not in node:
            return known
        node = node[part]
    return None


@cache
def _section(conf: Path, search_path: tuple[str, ...], group: str, choice: str) -> Any:
    """Return a section as one file makes it, references as they stand; None: there is no file."""
    try:
        config = composed([*search_path, f"{group}={choice}"])
    except (HydraException, OmegaConfBaseException):  # a wrong choice is said when it is composed
        return None
    node = config._get_node(group)
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else None
