"""Runs with options of a step: they go on as they began, and leave the checkpoints as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from insituml.execution import Execution
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.runs.optimisation import execution_of
from insituml_pipelines.runs.planning import check_device
from insituml_pipelines.runs.trial import try_out

OPTIONS = {"activation_checkpointing": True, "precision": "bfloat16"}


def test_a_resumed_run_computes_as_the_whole_one(resumed_alike: Any, tools: Any) -> None:
    ours, theirs = resumed_alike("experience_replay", {**tools.TRAINING, **OPTIONS}, tools.TRAINING)
    assert ours.keys() == theirs.keys()
    assert not any(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_older_runs_were_computed_plainly(tools: Any) -> None:
    assert execution_of(tools.TRAINING) == Execution()
    assert execution_of({**tools.TRAINING, **OPTIONS}) == Execution(**OPTIONS)
    with pytest.raises(UserError, match="exclude each other"):
        execution_of({**OPTIONS, "compile": True})


@pytest.mark.parametrize("device", ["meta", "meta:0"])
def test_a_device_that_computes_nothing_is_refused(device: str, tools: Any) -> None:
    with pytest.raises(
        UserError, match=r"training\.decoder_device is meta, which computes nothing"
    ):
        execution_of({**tools.TRAINING, "decoder_device": device})
    with pytest.raises(
        UserError, match=r"reconstruct\.device is 'meta.*use reconstruct.device=cpu"
    ):
        check_device(device, "reconstruct")


def test_options_that_a_method_has_no_use_for_are_named(
    make_run: Any, tools: Any, capsys: Any
) -> None:
    learner = {
        "_target_": "insituml.models.PrincipalComponents",
        "_partial_": True,
        "input_shape": [2],
        "latent_size": 1,
    }
    baseline = {"_target_": "insituml.methods.IncrementalPCA", "learner": learner}
    batch = (torch.randn(6, 2, generator=torch.Generator().manual_seed(0)),)
    for training in (tools.TRAINING, {**tools.TRAINING, **OPTIONS}):
        assert not capsys.readouterr().err
        try_out(make_run(method=baseline, training=training).recipe, batch)
    assert capsys.readouterr().err == (
        "note: method=naive takes no gradients; without effect on it: "
        "training.activation_checkpointing, training.precision\n"
    )
