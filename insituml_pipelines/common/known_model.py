"""A model of the user's own is imported because the configuration names it, not a file."""

from __future__ import annotations

from insituml_pipelines.common.cli import Invocation
from insituml_pipelines.common.located import located


def know_model(call: Invocation) -> None:
    """Import the class that ``model._target_`` names, so that checkpoints of it can be loaded.

    Raises
    ------
    UserError
        If it cannot be imported.
    """
    if call.model_target and not call.model_target.startswith("insituml."):
        located(call.model_target, "model")
