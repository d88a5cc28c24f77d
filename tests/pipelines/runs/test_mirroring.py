"""Mirror planes by configuration: what is refused, and that a resumed run mirrors alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from insituml.training import EpochRecord
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.runs.mirroring import augment_files
from insituml_pipelines.runs.worker import train_run


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
    method: str, fields: Any, make_run: Any, tools: Any, tmp_path: Any
) -> None:
    files, training = fields(), {**tools.TRAINING, "mirror": ["x", "z"]}
    whole, killed, plain = (
        make_run(method, stream=files, folder=tmp_path / name, training=used)
        for name, used in (("whole", training), ("killed", training), ("plain", tools.TRAINING))
    )
    for run in (whole, plain):
        train_run(run, lambda run, record: None)

    def die(_: Any, record: Any) -> None:
        if isinstance(record, EpochRecord) and record.task == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(killed, die)
    train_run(killed, lambda run, record: None)
    last = [run.checkpoint(files.tasks()[-1].index).read_bytes() for run in (whole, killed, plain)]
    assert last[0] == last[1] != last[2]
