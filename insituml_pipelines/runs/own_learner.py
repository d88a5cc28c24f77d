"""The learner that a baseline brings, in place of the chosen model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.located import located
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.reasons import in_words
from insituml_pipelines.common.targets import check_complete, options_of

if TYPE_CHECKING:
    from insituml.data.task import Batch
    from insituml.learner import ContinualLearner

KEY = "learner"
PLACE = f"method.{KEY}"


def own_learner(method: Node) -> Node | None:
    """Return the node of the learner that a method brings; None where it brings none."""
    node = method.get(KEY)
    return node if isinstance(node, dict) and "_target_" in node else None


def beside(chosen: ContinualLearner, name: str, own: Node, example: Batch) -> Node:
    """Return the node of a baseline's learner, made to be compared with the chosen model.

    Parameters
    ----------
    chosen
        The model that other methods train.
    name
        Of the baseline.
    own
        Its learner; where ``latent_size`` is null, it gets as many latents as ``chosen`` has.
    example
        A few samples of the stream.

    Raises
    ------
    UserError
        If ``chosen`` is judged by another error than the baseline's learner could be.
    """
    import torch

    check_complete(own, PLACE)
    model = type(chosen).__name__
    with torch.no_grad():
        try:
            metric = next(iter(chosen.eval().errors(example)))
            latents = chosen.latents(example).flatten(start_dim=1).shape[1]
        except Exception as error:  # whatever a user's own code may raise
            raise UserError(
                f"model: {model} cannot be evaluated, so method={name} cannot be compared with "
                f"it: {in_words(error)}"
            ) from error
    if metric != "mse":
        raise UserError(
            f"method={name} reconstructs, and {model} is judged by {metric}: they cannot be "
            f"compared; leave {name} out of the methods (conf/pipeline.yaml, transit.methods)"
        )
    options = options_of(located(own.get("_target_"), PLACE))
    if "latent_size" in options.names and own.get("latent_size") is None:
        return {**own, "latent_size": latents}
    return own
