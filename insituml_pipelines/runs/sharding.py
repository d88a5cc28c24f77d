"""Whether runs can be trained by ranks that each hold a part of the learner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.launcher import launched
from insituml_pipelines.common.log import note

if TYPE_CHECKING:
    from insituml_pipelines.common.schema import Training
    from insituml_pipelines.runs.recipe import Recipe

OPTIONS = ("averaging", "channels_last", "compile", "decoder_device")
"""Of section ``training``, that do not go together with it."""


def is_to_be_sharded(training: Training, recipe: Recipe) -> bool:
    """Tell whether ranks are to hold a part each; one process holds all, and says so.

    Raises
    ------
    UserError
        If the learner cannot be shared out, or the method or an option needs the whole of it.
    """
    if not training.sharded:
        return False
    if launched() == 1:
        note("training.sharded is without effect in one process: torchrun starts several")
        return False
    from insituml.sharding import check_shardable, check_sharded

    if chosen := [name for name in OPTIONS if getattr(training, name)]:
        raise UserError(
            f"training.sharded does not go together with training.{chosen[0]}; leave one of them "
            "off"
        )
    learner, method = recipe.build()[:2]
    try:
        check_sharded(method, learner)
        check_shardable(learner)
    except ValueError as error:
        raise UserError(f"training.sharded: {error}") from error
    return True


def refuse_sharding(training: Training) -> None:
    """Raise UserError where a stream is to teach ranks that each hold a part of the learner."""
    if training.sharded:
        raise UserError(
            "training.sharded is for training from files: each rank of a stream holds the whole "
            "learner; leave it off"
        )
