"""From a ``_target_`` node to what data are read from or made by."""

from __future__ import annotations

from typing import Any

from pipelines.common.errors import UserError
from pipelines.common.node import Node
from pipelines.common.schema import Data, validate_target


def build_source(data: Data) -> Any:
    """Build the source of the data.

    Raises
    ------
    UserError
        If it cannot be built as configured.
    """
    validate_target(data.source, "data.source")
    try:
        return instantiated(data.source)
    except Exception as error:  # whatever a simulation or a reader may raise
        raise UserError(f"data={data.name}: {error}") from error


def instantiated(node: Node) -> Any:
    """Build a node; an error is the constructor's own, without Hydra's wrapping."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise error.__cause__ or error from None
