"""From a call to the recipes that it asks for, all of the configuration checked."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from insituml_pipelines.common.cli import Invocation
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import fitting
from insituml_pipelines.common.launcher import launched
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.targets import check_complete, validate_target
from insituml_pipelines.runs.optimisation import is_meta
from insituml_pipelines.runs.own_learner import KEY, beside, own_learner
from insituml_pipelines.runs.recipe import Recipe
from insituml_pipelines.runs.trial import try_out

if TYPE_CHECKING:
    from insituml.data.task import Batch

PARTIAL = Path(".partial")
"""Gets what is not whole yet."""
TASKS = "tasks"
"""Below the folder of a stream: the manifest of what comes."""


def recipes_of(
    call: Invocation,
    facts: Node,
    settings: Node,
    data_fingerprint: str,
    seeds: list[int],
    example: Batch,
    *,
    validated: bool,
) -> list[Recipe]:
    """Return what the chosen method learns, for each seed, checked by building one.

    Parameters
    ----------
    call
        Chooses model, method and optimizer.
    facts
        What the configuration may refer to as ``stream``.
    settings
        How to train.
    data_fingerprint
        Of the stream.
    seeds
        One recipe each.
    example
        A few samples of the stream, or their like, that a learner is tried on.
    validated
        Whether a part of the stream is set aside to select by.

    Raises
    ------
    UserError
        For any wrong key or value.
    """
    name = call.choices["method"]
    sections = {}
    for key in ("model", "method", "optimizer"):
        sections[key] = fitting(call, key, call.section(key, **facts))
        validate_target(sections[key], key)
        check_complete(sections[key], key)
    recipes = [
        Recipe(
            method_name=name,
            seed=seed,
            training=settings,
            data_fingerprint=data_fingerprint,
            experiment=call.experiment,
            **sections,
        )
        for seed in seeds
    ]
    if own := own_learner(sections["method"]):
        shown = tuple(column.to(settings["device"]) for column in example)
        own = beside(recipes[0].build_model(), name, own, shown)
        method = {**sections["method"], KEY: own}
        recipes = [replace(recipe, method=method) for recipe in recipes]
    try_out(recipes[0], example)  # before any worker starts, so that a wrong value shows at once
    if not validated and recipes[0].build()[1].converges:
        raise UserError(
            f"method={name} trains until a validation part stops improving, and there is none; set "
            "data.split.validation to a part of each task, such as 0.1, and split again"
        )
    return recipes


def check_device(device: str, section: str = "training") -> None:
    """Refuse a device that does not work here; ``section`` of the configuration names it.

    Raises
    ------
    UserError
        Naming the reason; or if several ranks of this machine would share a GPU, which NCCL cannot.
    """
    import torch

    if is_meta(device):
        raise UserError(
            f"{section}.device is {device!r}, which computes nothing; use {section}.device=cpu"
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched() > 1 else 1
    if device.startswith("cuda") and here > 1:
        if (count := torch.cuda.device_count()) < here:
            raise UserError(
                f"torchrun has started {here} ranks on this machine, which has {count} GPU(s), and "
                f"each takes one of its own; lower --nproc-per-node, or use {section}.device=cpu"
            )
        if device != "cuda":
            raise UserError(
                f"{section}.device is {device}, one GPU for {here} ranks; use {section}.device=cuda"
            )
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{section}.device is {device!r}, which does not work here ({reason}); "
            f"use {section}.device=cpu"
        ) from error
