"""Mixing by configuration: what is refused, and that a resumed run mixes alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from insituml.data.mixing import IterationMixing
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.runs.mixing import mixing_in_files
from insituml_pipelines.stream import SECTIONS, plan


def test_samples_of_an_iteration_are_its_chunks(fields: Any) -> None:
    files = fields()
    mix = mixing_in_files({"mix_iterations": 2}, files.manifest)
    places = files.array(0, "test_places")
    chunks = int((places[:, 0] == places[0, 0]).sum())
    assert mix == IterationMixing(2, chunks)
    assert mixing_in_files({"mix_iterations": 0}, files.manifest) is None
    assert mixing_in_files({}, files.manifest) is None


def test_what_has_no_neighbours_is_refused(points: Any) -> None:
    assert mixing_in_files({"mix_iterations": 0}, points.manifest) is None
    with pytest.raises(UserError, match="mix_iterations is 2, but points and images have no same"):
        mixing_in_files({"mix_iterations": 2}, points.manifest)


def test_a_stream_of_points_is_refused_before_it_begins(
    tools: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = ["data=toy8", "model=mlp", "training.mix_iterations=1"]
    with pytest.raises(UserError, match="mix_iterations is 1, but points and images have no same"):
        plan(tools.invoke(tmp_path, SECTIONS, *chosen))


def test_tasks_normalised_each_in_its_own_way_are_refused(fields: Any) -> None:
    with pytest.raises(UserError, match=r"use data\.split\.normalisation=first_task"):
        mixing_in_files({"mix_iterations": 2}, fields(normalisation="running").manifest)


@pytest.mark.parametrize("method", ["experience_replay", "joint"])
def test_a_resumed_run_mixes_as_the_whole_one(
    method: str, fields: Any, resumed_alike: Any, tools: Any
) -> None:
    alone = {**tools.TRAINING, "mirror": ["x"]}
    ours, theirs = resumed_alike(method, {**alone, "mix_iterations": 2}, alone, stream=fields())
    assert not any(torch.equal(value, theirs[name]) for name, value in ours.items())
