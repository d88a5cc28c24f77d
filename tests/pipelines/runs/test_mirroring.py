"""Mirror planes by configuration: what is refused, and that a resumed run mirrors alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.runs.mirroring import augment_files


def test_batches_of_files_are_mirrored_about_zero(fields: Any) -> None:
    files = fields()
    augment = augment_files({"mirror": ["x"]}, files.manifest)
    assert augment is not None
    (inputs,) = files.tasks()[0].train
    (found,) = augment((inputs,), torch.Generator().manual_seed(0))
    scale = files.manifest.tasks[0].normalisation
    signs = torch.tensor([-1.0 if c == "Ex" else 1.0 for c in files.manifest.components])
    shape = (-1, *(1,) * (inputs.dim() - 2))
    # Back to volts per metre, there and back.
    images = torch.from_numpy(scale.invert(inputs.numpy())).flip(2) * signs.view(shape)
    images = torch.from_numpy(scale.apply(images.numpy()))
    kept, mirrored = ((found - x).flatten(1).abs().amax(1) < 1e-4 for x in (inputs, images))
    assert bool((kept | mirrored).all())
    assert bool(kept.any())
    assert bool(mirrored.any())


def test_what_has_no_mirror_planes_is_refused(fields: Any, points: Any) -> None:
    assert augment_files({"mirror": []}, points.manifest) is None
    assert augment_files({}, points.manifest) is None
    with pytest.raises(UserError, match="points and images have no mirror planes"):
        augment_files({"mirror": ["x"]}, points.manifest)
    with pytest.raises(UserError, match=r"mirror is \['q'\]: there is no mirror plane normal to"):
        augment_files({"mirror": ["q"]}, fields().manifest)


def test_tasks_normalised_each_in_its_own_way_are_refused(fields: Any) -> None:
    with pytest.raises(UserError, match=r"use data\.split\.normalisation=first_task"):
        augment_files({"mirror": ["x"]}, fields(normalisation="running").manifest)


@pytest.mark.parametrize("method", ["ewc", "joint"])
def test_a_resumed_run_mirrors_as_the_whole_one(
    method: str, fields: Any, resumed_alike: Any, tools: Any
) -> None:
    training = {**tools.TRAINING, "mirror": ["x", "z"]}
    ours, theirs = resumed_alike(method, training, tools.TRAINING, stream=fields())
    assert not all(torch.equal(value, theirs[name]) for name, value in ours.items())
