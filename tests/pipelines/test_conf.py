"""Every file in conf/ composes, is accepted by the schema, and builds what it describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate

from insituml import memory
from insituml.methods import Combined
from insituml_pipelines.common.cli import CONF
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Data, Training, validate
from insituml_pipelines.common.targets import validate_target
from insituml_pipelines.experiments.writing import MARK
from insituml_pipelines.select import select

GROUPS = {
    folder.name: sorted(
        file.stem
        for file in folder.glob("*.yaml")
        if MARK not in file.read_text().splitlines()[:2]  # whoever works here may have their own
    )
    for folder in CONF.iterdir()
    if folder.is_dir() and folder.name != "hydra"
}
SWAPPED = [group for group in GROUPS if group != "experiment"]
SECTIONS = ["data", "model", "method", "optimizer", "training", "tracking"]
# What data=... leaves open: the user's files.
NEEDS_PATH = {"efield_npy", "openpmd", "mnist", "permuted_mnist", "cifar10", "cifar100"}
SHAPES = {"lwfa": [3, 12, 32, 12], "pic": [3, 16, 32, 16], "digits": [1, 8, 8], "toy8": [2]}
SHAPES |= {
    "fbpic": [3, 32, 32, 32],
    "islands": [3, 64, 64],
    "mnist": [1, 28, 28],
    "cifar100": [3, 32, 32],
    "toy8_flow": [2],
}
SHIPPED = {"mlp", "autoencoder1d", "autoencoder2d", "autoencoder3d", "conditional_flow"}
SHIPPED |= {"hybrid", "convolutional"}
# A new experiment is tried here once its shape is entered above.
EXPERIMENTS = [name for name in GROUPS["experiment"] if name in SHAPES]
IMAGES = {"digits", "mnist", "cifar100"}
CONDITIONS = {
    "lwfa": 0,
    "pic": 0,
    "fbpic": 0,
    "islands": 0,
    "toy8": 8,
    "toy8_flow": 8,
    **dict.fromkeys(IMAGES, 1),
}


def content(group: str, name: str) -> dict[str, Any]:
    own = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    if group != "experiment":  # what a file leaves as it is in another one of its group
        for base in own.pop("defaults", []):
            own = {**content(group, base), **own}
    return own


def facts_of(experiment: str) -> dict[str, Any]:
    """What the split data of an experiment tell the configuration."""
    return {
        "tasks": 3,
        "sample_shape": SHAPES[experiment],
        "condition_size": CONDITIONS[experiment],
    }


def fits(experiment: str, group: str, name: str) -> bool:
    """Whether a file has all keys that the experiment sets in its group."""
    own = content("experiment", experiment).get(group) or {}
    return set(own) <= set(content(group, name))


@pytest.mark.parametrize("row", range(max(len(GROUPS[g]) for g in SWAPPED if g != "method")))
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_file_composes_with_every_experiment(experiment, row, tools, tmp_path) -> None:
    """Row by row through all groups at once: each file meets each experiment.

    Methods, of which there are twice as many, are handed out over experiments: each meets some
    here, and all of them below.
    """
    chosen = {group: GROUPS[group][row % len(GROUPS[group])] for group in SWAPPED}
    turn = row * len(EXPERIMENTS) + EXPERIMENTS.index(experiment)
    chosen["method"] = GROUPS["method"][turn % len(GROUPS["method"])]
    for group, name in chosen.items():
        if not fits(experiment, group, name):  # such as channels for a model without
            (entry,) = (
                e
                for e in content("experiment", experiment)["defaults"]
                if f"override /{group}" in e
            )
            chosen[group] = entry[f"override /{group}"]
    overrides = [f"experiment={experiment}", *(f"{g}={name}" for g, name in chosen.items())]
    if chosen["data"] in NEEDS_PATH:
        overrides.append("data.path=somewhere")
    call = tools.invoke(tmp_path, SECTIONS, *overrides)
    assert call.choices == {"experiment": experiment, **chosen}
    facts = facts_of(experiment)
    sections = {name: call.section(name, **facts) for name in SECTIONS}
    validate(Data, sections["data"], "data")
    validate(Training, sections["training"], "training")
    for name in ("model", "method", "optimizer", "tracking"):
        validate_target(sections[name], name)
    validate_target(sections["data"]["source"], "data.source")
    # An experiment's own values stand above those of the group's file, and nothing adds keys.
    for name in SECTIONS:
        assert set(sections[name]) == set(content(name, chosen[name]))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_method_has_its_values_in_every_experiment(experiment, tools, tmp_path) -> None:
    """No experiment sets values of a method (see below): composed once, it takes each file."""
    call = tools.invoke(tmp_path, SECTIONS, f"experiment={experiment}")
    for name in GROUPS["method"]:
        call.config.method = content("method", name)
        node = call.section("method", **facts_of(experiment))
        validate_target(node, "method")
        assert set(node) == set(content("method", name))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("model", GROUPS["model"])
def test_models_make_samples_of_the_shapes_they_are_for(experiment, model, tools, tmp_path) -> None:
    fields = {*IMAGES, "islands", "lwfa", "pic", "fbpic"}
    meant_for = {
        "hybrid": fields,
        "convolutional": fields,
        "autoencoder1d": set(),
        "autoencoder2d": {*IMAGES, "islands"},
        "autoencoder3d": {"lwfa", "pic", "fbpic"},
        "conditional_flow": {"toy8", "toy8_flow"},
    }
    call = tools.invoke(tmp_path, ["model"], f"experiment={experiment}", f"model={model}")
    shape = SHAPES[experiment]
    node = call.section("model", **facts_of(experiment))
    if not fits(experiment, "model", model):
        with pytest.raises(UserError, match=r"model\.\w+ is not an option of"):
            validate_target(node, "model")
        return
    if experiment not in meant_for.get(model, {experiment}):
        with pytest.raises(InstantiationException, match=r"shape|condition_size"):
            instantiate(node, generator=torch.Generator(), _convert_="all")
        return
    try:
        learner = instantiate(node, generator=torch.Generator().manual_seed(1), _convert_="all")
    except InstantiationException:
        assert model not in SHIPPED  # a new one is for what it says, see above
        return
    if learner.generative:
        condition = torch.zeros(3, CONDITIONS[experiment])
        drawn = learner.sample((condition,), generator=torch.Generator())
        assert list(drawn.shape) == [3, *shape]
        assert learner.loss((drawn, condition)).isfinite()
        return
    encoded, decoded, _ = learner(torch.zeros(2, *shape))
    assert list(decoded.shape[1:]) == shape
    spatial = encoded.shape[2:] if "latent_channels" in node else ()  # a field on a coarse grid
    assert list(encoded.shape) == [2, node.get("latent_size", encoded.shape[1]), *spatial]


@pytest.mark.parametrize("method", GROUPS["method"])
def test_methods_are_built_with_their_options(method, tools, tmp_path) -> None:
    call = tools.invoke(tmp_path, ["method", "training"], f"method={method}")
    node = call.section("method", tasks=4, sample_shape=[2])
    built = instantiate(node, generator=torch.Generator(), _convert_="all")
    assert type(built) is get_object(node["_target_"])
    # DVC and the leaderboard name a method by its file: the class must be the one it says.
    if isinstance(built, Combined):
        names = [type(part).__name__.removeprefix("Experience").lower() for part in built.methods]
        assert sorted(names) == sorted(method.split("_"))
    else:
        assert type(built).__name__.lower() == method.replace("_", "")
    training = call.section("training")
    if "sketch_size" in node:  # more samples in fewer bytes
        assert node["memory_size"] * 2 * node["sketch_size"] < training["memory_size"]
        assert training["reference_size"] == node["replay_size"]
    elif "memory_size" in node:
        assert node["memory_size"] == training["memory_size"]  # the same for each, to be fair
        assert training["reference_size"] in node.values()
    assert node.get("total_tasks", 4) == 4


REMEMBERING = [method for method in GROUPS["method"] if "memory" in content("method", method)]
REMEMBERING.remove("compressed_replay")  # whose kind of memory is what makes it one
KINDS = sorted({name for name in memory.__all__ if name.endswith("Memory")} - {"Memory"})


@pytest.mark.parametrize("method", REMEMBERING)
def test_a_method_with_a_memory_takes_any_kind(method, tools, tmp_path) -> None:
    chosen = [f"method={method}", "method.memory._target_=insituml.memory.RingMemory"]
    call = tools.invoke(tmp_path, ["method", "training"], *chosen)
    node = call.section("method", tasks=4, sample_shape=[2])
    assert node["memory"]["_target_"].endswith("RingMemory")
    for kind in KINDS:
        node["memory"]["_target_"] = f"insituml.memory.{kind}"
        if kind == "EpisodicMemory":
            node["memory"]["total_tasks"] = 4
        validate_target(node, "method")
        built = instantiate(node, generator=torch.Generator(), _convert_="all")
        assert type(built.memory) is getattr(memory, kind)
        assert built.memory.capacity == node["memory_size"]


@pytest.mark.parametrize("optimizer", GROUPS["optimizer"])
def test_optimizers_take_their_options(optimizer, tools, tmp_path) -> None:
    node = tools.invoke(tmp_path, ["optimizer"], f"optimizer={optimizer}").section("optimizer")
    weight = torch.nn.Parameter(torch.ones(3))
    built = instantiate(node, params=[weight], _convert_="all")
    for key in set(node) - {"_target_"}:
        assert np.array_equal(built.defaults[key], node[key]), key
    weight.sum().backward()
    built.step()
    assert bool((weight < 1).all())


@pytest.mark.parametrize("name", GROUPS["data"])
def test_data_sources_are_built(name, tools, published, tmp_path) -> None:
    overrides = [f"data={name}"]
    if name in ("efield_npy", "pic"):
        tools.write_fields(tmp_path / "fields")
        overrides.append(f"data.path={tmp_path / 'fields'}")
    elif name == "openpmd":
        from insituml.data.npy_folder import NpyFolder
        from insituml.data.openpmd.writer import write_series

        tools.write_fields(tmp_path / "fields")
        write_series(tmp_path / "series.h5", NpyFolder(tmp_path / "fields"))
        overrides.append(f"data.path={tmp_path / 'series.h5'}")
    elif name in NEEDS_PATH:
        published.write_image_sets(tmp_path)
        overrides.append(f"data.path={tmp_path}")
    elif name == "fbpic":
        pytest.importorskip("fbpic")
    data = validate(Data, tools.invoke(tmp_path, ["data"], *overrides).section("data"), "data")
    assert data.name == name
    source = instantiate(data.source, _convert_="all")
    if data.kind == "field":
        step = next(iter(source))
        assert step.values.shape == (len(source.components), *source.grid.shape)
        assert step.values.dtype == np.float32
        if name in ("lwfa", "fbpic"):
            assert data.split.tasks <= len(source)
            assert all(n % c == 0 for n, c in zip(source.grid.shape, data.split.chunk, strict=True))
    else:
        assert len(source.inputs) == len(source.labels) == len(source.iterations)
        assert source.inputs.dtype == np.float32
    if name in NEEDS_PATH & {"mnist", "cifar10", "cifar100"}:
        groups = [label for group in data.split.groups for label in group]
        assert sorted(groups) == list(range(20 if name == "cifar100" else 10))
        assert sorted(set(source.labels.tolist())) == sorted(groups)  # each label in one task


@pytest.mark.parametrize("ending", ["h5", "bp"])
def test_the_format_of_made_fields_is_a_choice(ending, tools, tmp_path) -> None:
    call = tools.invoke(tmp_path, ["data"], "data=lwfa", f"data.format={ending}")
    assert validate(Data, call.section("data"), "data").format == ending


def test_the_files_behind_pipeline_yaml_exist(tmp_path) -> None:
    pipeline = yaml.safe_load((CONF / "pipeline.yaml").read_text())
    for group in ("experiment", "data", "model", "optimizer"):
        assert (CONF / group / f"{pipeline[group]}.yaml").exists()
    assert len(set(pipeline["methods"])) == len(pipeline["methods"])
    assert set(pipeline["methods"]) <= set(GROUPS["method"])
    assert {"naive", "joint_converged"} <= set(pipeline["methods"])  # the gap that others close


def test_pipeline_yaml_is_what_its_experiment_composes_to(tools, tmp_path) -> None:
    file = tmp_path / "pipeline.yaml"
    text = (CONF / "pipeline.yaml").read_text()
    file.write_text(text)
    experiment = yaml.safe_load(text)["experiment"]
    call = tools.invoke(tmp_path, ["data"], f"experiment={experiment}")
    select(call.choices, call.section("data").get("path"), file)
    assert file.read_text() == text


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_override_only_what_dvc_tracks(experiment) -> None:
    """The train stage tracks these keys; another one would change results unnoticed."""
    own = content("experiment", experiment)
    assert set(own) == {"defaults", "name", "data", "model", "optimizer", "training"}
    assert own["name"] == experiment
    groups = [next(iter(entry)).removeprefix("override /") for entry in own["defaults"]]
    assert set(groups) <= {"data", "model", "optimizer"}  # those that pipeline.yaml names


def test_only_known_places_hold_configuration() -> None:
    names = {path.name for path in CONF.iterdir()}
    assert names == {*GROUPS, "hydra", "config.yaml", "pipeline.yaml"}
    main = yaml.safe_load((CONF / "config.yaml").read_text())
    groups = {next(iter(e)) for e in main["defaults"] if isinstance(e, dict)}
    assert set(GROUPS) <= groups
    assert {"training": "default"} in main["defaults"]  # dvc.yaml tracks that file by name
    assert Path(CONF / "training/default.yaml").exists()
