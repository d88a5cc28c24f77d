"""A recipe tried on a few samples, so that a mistake costs a second and not a night."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import note
from insituml_pipelines.common.reasons import in_words
from insituml_pipelines.runs.ambient import ambient_seed
from insituml_pipelines.runs.optimisation import chosen_options
from insituml_pipelines.runs.recipe import Recipe

if TYPE_CHECKING:
    from insituml.data.task import Batch
    from insituml.learner import ContinualLearner


def try_out(recipe: Recipe, example: Batch) -> None:
    """Build what a recipe says, and let it learn and be judged once.

    Parameters
    ----------
    recipe
        Nothing of it is changed.
    example
        A few samples as the stream has them.

    Raises
    ------
    UserError
        If it cannot be built, is not what it must be, or cannot learn such samples.
    """
    learner, method = recipe.build()[:2]
    try:
        learner.description()  # so that a checkpoint of it can be loaded
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    with ambient_seed(recipe.seed % 2**32), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training will say the same
        batch = tuple(column.to(recipe.training["device"]) for column in example)
        if method.learns_by_gradient:
            _learn_once(learner, batch)
        else:
            _note_idle_options(recipe)
            _observe_once(learner, batch)
        _judge_once(learner, batch)
    if not str(recipe.learner_node["_target_"]).startswith("insituml."):
        _compare_seeds(recipe)


def _learn_once(learner: ContinualLearner, batch: Batch) -> None:
    import torch

    name, shape = type(learner).__name__, list(batch[0].shape[1:])
    _check_reconstruction(learner, batch)
    try:
        loss: Any = learner.train().loss(batch)
    except Exception as error:  # whatever a user's own code may raise
        raise UserError(
            f"model: {name}.loss fails on samples of shape {shape} ({batch[0].dtype}): "
            f"{in_words(error)}"
        ) from error
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        what = f"a tensor of shape {list(loss.shape)}" if hasattr(loss, "shape") else repr(loss)
        raise UserError(f"model: {name}.loss returns {what}; expected a scalar tensor, the mean")
    if not loss.requires_grad:
        raise UserError(
            f"model: no parameter takes part in what {name}.loss returns; was it detached?"
        )
    try:
        loss.sum().backward()
    except Exception as error:
        raise UserError(f"model: {name}.loss has no gradient: {in_words(error)}") from error


def _note_idle_options(recipe: Recipe) -> None:
    """Say so where options of a gradient step are given to who makes none."""
    if idle := chosen_options(recipe.training):
        names = ", ".join(f"training.{name}" for name in idle)
        note(f"method={recipe.method_name} takes no gradients; without effect on it: {names}")


def _observe_once(learner: ContinualLearner, batch: Batch) -> None:
    import torch

    try:
        with torch.no_grad():
            learner.train().observe(batch)
    except Exception as error:  # whatever a user's own code may raise
        raise UserError(
            f"model: {type(learner).__name__}.observe fails on samples of shape "
            f"{list(batch[0].shape[1:])} ({batch[0].dtype}): {in_words(error)}"
        ) from error
    _check_reconstruction(learner, batch)


def _check_reconstruction(learner: ContinualLearner, batch: Batch) -> None:
    """Refuse an autoencoder whose outputs are of another shape than its inputs.

    Some shapes could be compared all the same, number by number with what they are no guess of.
    """
    import torch

    from insituml.learner import ContinualLearner

    cls, shape = type(learner), list(batch[0].shape[1:])
    if cls.loss is not ContinualLearner.loss or cls.objective is not ContinualLearner.objective:
        return
    try:
        with torch.no_grad():
            output: Any = learner.train().output(batch)
    except Exception as error:  # whatever a user's own code may raise
        raise UserError(
            f"model: {cls.__name__} fails on samples of shape {shape} ({batch[0].dtype}): "
            f"{in_words(error)}"
        ) from error
    if hasattr(output, "shape") and output.shape != batch[0].shape:
        raise UserError(
            f"model: {cls.__name__} makes samples of shape {list(output.shape[1:])} of those of "
            f"the data, {shape}; expected the same shape"
        )


def _judge_once(learner: ContinualLearner, batch: Batch) -> None:
    """See that evaluation will find what it asks for."""
    import torch

    name = type(learner).__name__
    learner.eval()
    for ask, remedy in (
        ("errors", "define encode(x) and decode(latent), or errors(batch)"),
        ("latents", "define encode(x), or latents(batch)"),
    ):
        try:
            with torch.no_grad():
                getattr(learner, ask)(batch)
        except Exception as error:
            raise UserError(
                f"model: {name} cannot be evaluated, {ask} fails: {in_words(error)}; {remedy}"
            ) from error


def _compare_seeds(recipe: Recipe) -> None:
    """Say so where first weights do not follow the seed as those of insituml's models do."""
    from dataclasses import replace

    one, again = _weights(recipe), _weights(recipe)
    other = _weights(replace(recipe, seed=recipe.seed + 1))
    if not _equal(one, again):
        _note(recipe, "differ each time it is built: draw them from torch's global generator")
    elif _equal(one, other):
        _note(recipe, "are the same for each seed: hand `generator` on to what draws them")


def _weights(recipe: Recipe) -> list[Any]:
    return list(recipe.build()[0].state_dict().values())


def _equal(some: list[Any], others: list[Any]) -> bool:
    import torch

    return len(some) == len(others) and all(map(torch.equal, some, others))


def _note(recipe: Recipe, what: str) -> None:
    target = recipe.learner_node["_target_"]
    note(f"model: the first weights of {target} {what}")
