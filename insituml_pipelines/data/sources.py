"""From a ``_target_`` node to what data are read from or made by."""

from __future__ import annotations

from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import note
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.reasons import reason
from insituml_pipelines.common.schema import Data
from insituml_pipelines.common.targets import build, check_complete, validate_target

FIELD = ("components", "unit", "grid", "iteration_numbers", "steps", "__len__", "__iter__")
"""What a source of fields has: :class:`insituml.data.step.FieldSource`."""


def build_source(data: Data) -> Any:
    """Build the source of the data.

    Raises
    ------
    UserError
        If it cannot be built as configured, or is no source of this kind of data.
    """
    check_source(data.source)
    try:
        source = instantiated(data.source)
    except Exception as error:  # whatever a simulation or a reader may raise
        raise UserError(f"data={data.name}: {reason(error)}") from error
    _check_kind(source, data)
    return source


def check_source(node: Node) -> None:
    """Refuse a source that cannot be built as configured.

    Raises
    ------
    UserError
        Naming the option.
    """
    validate_target(node, "data.source")
    check_complete(node, "data.source")


def instantiated(node: Node) -> Any:
    """Build a node, and say what its source found that nobody asked about.

    An error is the constructor's own, without Hydra's wrapping.
    """
    source = build(node)
    for said in getattr(source, "notes", ()):
        note(said)
    return source


def _check_kind(source: Any, data: Data) -> None:
    from insituml.data.samples import Samples

    made = (
        f"data.source._target_ is {data.source['_target_']}, which makes a {type(source).__name__}"
    )
    if hasattr(source, "events"):  # a stream already
        return
    if data.kind != "field" and not isinstance(source, Samples):
        raise UserError(
            f"{made}, but data.kind is {data.kind}: expected insituml.data.Samples; a source of "
            "fields needs data.kind=field"
        )
    if data.kind == "field" and isinstance(source, Samples):
        raise UserError(f"{made}, but data.kind is field; set data.kind to points or images")
    missing = [name for name in FIELD if not hasattr(source, name)] if data.kind == "field" else []
    if missing:
        raise UserError(
            f"{made} without {', '.join(missing)}; a source of fields has them "
            "(insituml/data/step.py is the contract)"
        )
