"""From the configuration to the tracker it describes."""

from __future__ import annotations

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.targets import validate_target
from insituml_pipelines.tracking.base import Tracker


def open_tracker(node: Node) -> Tracker:
    """Build the tracker of section ``tracking``.

    Raises
    ------
    UserError
        If its target cannot be imported or is no :class:`Tracker`, or an argument is wrong.
    """
    try:
        validate_target(node, "tracking")
    except UserError as error:
        if str(node["_target_"]).startswith("insituml_pipelines."):
            raise
        hint = "to begin without the options of another tracker, add tracking=none"
        raise UserError(f"{error}; {hint}") from error
    try:
        tracker = instantiate(node, _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, ValueError):
            raise
        raise UserError(str(error.__cause__)) from error
    if not isinstance(tracker, Tracker):
        raise UserError(
            f"tracking._target_ is {node['_target_']}, which makes a {type(tracker).__name__}; "
            "expected a subclass of insituml_pipelines.tracking.base.Tracker"
        )
    return tracker
