"""An experiment for a user's own data is proposed, written, and runs as it is written."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openpmd_api as io
import pytest
import yaml

from insituml_pipelines import select as select_module
from insituml_pipelines.common import cli
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import data_of
from insituml_pipelines.experiments.proposal import (
    chunk_of,
    latents_of,
    model_of,
    propose,
    tasks_of,
)
from insituml_pipelines.experiments.writing import MARK, data_text
from insituml_pipelines.generate import generate
from insituml_pipelines.new_experiment import main
from insituml_pipelines.split import split
from insituml_pipelines.train import SECTIONS, plan


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a ``conf`` of its own."""
    folder = tmp_path / "projekt für mich"
    folder.mkdir()
    shutil.copytree(cli.CONF, folder / "conf")
    monkeypatch.setattr(cli, "CONF", folder / "conf")
    monkeypatch.chdir(folder)
    return folder


def write_series(path: Path, shape: tuple[int, ...], record: str, names: str, count: int) -> None:
    rng = np.random.default_rng(2)
    series = io.Series(str(path), io.Access.create)
    for k in range(count):
        iteration = series.iterations[10 * k]
        mesh = iteration.meshes[record]
        mesh.axis_labels = list("xyz"[: len(shape)])
        mesh.grid_spacing, mesh.grid_global_offset = [1e-6] * len(shape), [0.0] * len(shape)
        for name in names or (io.Mesh_Record_Component.SCALAR,):
            component = mesh[name]
            component.position = [0.0] * len(shape)
            component.reset_dataset(io.Dataset(np.dtype("f4"), list(shape)))
            component.store_chunk(rng.normal(size=shape).astype("f4"))
        iteration.close()
    series.close()


def write_folder(path: Path, shape: tuple[int, ...], count: int) -> None:
    path.mkdir()
    rng = np.random.default_rng(3)
    for k in range(count):
        np.save(path / f"data_{100 * k}.npy", rng.normal(size=(3, *shape)).astype("f4"))


def composed(project: Path, group: str, name: str, *overrides: str) -> Any:
    """Compose in the project's own conf, as the stages do."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(project / "conf"), version_base="1.3"):
        config = compose("config", overrides=list(overrides), return_hydra_config=True)
    choices = {k: v for k, v in config.hydra.runtime.choices.items() if not k.startswith("hydra")}
    sections = ("data",) if group == "data" else SECTIONS
    return cli.Invocation(cli.reads_only(config, sections), project, project, choices, overrides)


FOLDER, SERIES, PATTERN = "daten 1", "series.h5", "diags/sim_%T.h5"


@pytest.mark.parametrize(
    "path, shape, record, names, count, options, chunk, model",
    [
        (FOLDER, (8, 32, 8), "E", "xyz", 10, [], [8, 32, 8], "hybrid"),
        (FOLDER, (8, 32, 8), "E", "xyz", 4, ["component=Ey"], [8, 32, 8], "hybrid"),
        (SERIES, (16, 64, 16), "B", "xyz", 6, ["record=B"], [16, 32, 16], "hybrid"),
        (SERIES, (64, 80), "rho", "", 5, ["record=rho"], [64, 40], "hybrid"),
        (PATTERN, (1000,), "E", "x", 6, [], [250], "hybrid"),
        (SERIES, (60,), "E", "xy", 6, ["tasks=3", "chunk=[20]"], [20], "hybrid"),
    ],
)
def test_what_is_written_runs(
    path, shape, record, names, count, options, chunk, model, project, capsys, monkeypatch
) -> None:
    data = project.parent / path
    if path == FOLDER:
        write_folder(data, shape, count)
    else:
        data.parent.mkdir(exist_ok=True)
        write_series(data, shape, record, names, count)
    main(["mine", f"data.path={data}", *options])
    said = capsys.readouterr().out
    assert f"chunk     {chunk}" in said
    assert said.endswith("insituml select experiment=mine\n  dvc repro\n")
    # Compose, generate, split and plan, as `dvc repro` would.
    section = data_of(composed(project, "data", "mine", "experiment=mine", "data=mine"))
    assert section.split.chunk == chunk
    assert section.split.validation == (0.1 if count == 10 else None)  # others: short tasks
    assert section.name == "mine"
    generate(section, project / "data/raw")
    manifest = split(section, project / "data/raw", project / "data/tasks")
    assert list(manifest.sample_shape[1:]) == chunk
    call = composed(project, "train", "mine", "experiment=mine", "method=experience_replay")
    assert call.choices["model"] == model
    written = yaml.safe_load((project / "conf/experiment/mine.yaml").read_text())
    latents = written["model"]["latent_size"]
    samples = sum(task.train for task in manifest.tasks)
    words = f"{latents} principal components can hold all {samples} samples"
    assert (words in said) == (latents >= samples)
    training, runs = plan(call)
    assert len(runs) == 3
    steps = [
        training.epochs * math.ceil(task.train / training.batch_size) for task in manifest.tasks
    ]
    assert min(steps) >= 150
    assert "optimizer steps" not in capsys.readouterr().err
    # And it is chosen by `select`.
    monkeypatch.setattr(select_module, "CONF", project / "conf")
    source = call_select(project, "mine")
    assert source == str(data.parent if "%" in path else data)


def call_select(project: Path, name: str) -> str:
    from insituml_pipelines.select import select

    call = composed(project, "data", name, f"experiment={name}")
    select(call.choices, call.section("data")["path"], project / "conf/pipeline.yaml")
    pipeline = yaml.safe_load((project / "conf/pipeline.yaml").read_text())
    assert pipeline["experiment"] == pipeline["data"] == name
    return str(pipeline["source"])


def test_other_values_of_the_data_are_written_too(project) -> None:
    write_folder(project / "fields", (4, 4, 4), 4)
    values = ["data.source.spacing=[1e-6,2e-6,1e-6]", "data.source.time_step=1e-15"]
    main(["mine", "path=fields", *values, "data.split.on_bad_iteration=skip"])
    text = (project / "conf/data/mine.yaml").read_text()
    found = yaml.safe_load(text)
    assert found["path"] == "fields"
    assert found["source"]["spacing"] == [1e-6, 2e-6, 1e-6]
    assert found["source"]["time_step"] == 1e-15
    assert found["split"]["on_bad_iteration"] == "skip"
    assert "# metres between points along x, y, z" in text  # what the template says of its values


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["path=fields"], "there is no name; expected one"),
        (["a", "b", "path=fields"], "'a' and 'b' are given; expected one"),
        (["mine"], "data.path has no value"),
        (["../x", "path=fields"], "'../x' cannot name an experiment"),
        (["null", "path=fields"], "'null' cannot name an experiment"),
        (["1e5", "path=fields"], "'1e5' cannot name an experiment"),
        (["pic", "path=fields"], "data/pic.yaml is there already and was not written by new_exp"),
        (["lwfa", "path=fields", "force=true"], "lwfa.yaml is there already and was not written"),
        (["mine", "path=fields", "force=perhaps"], "force is 'perhaps'; expected true or false"),
        (["mine", "path=fields", "epochs=3"], "epochs is not an option of new_experiment; it has"),
        (["mine", "path=fields", "data.source.a=1"], "data.source.a does not exist; data.source"),
        (["mine", "path=fields", "record=B"], "data.source.record does not exist"),
        (["mine", "path=fields", "tasks=9"], "9 tasks of 4 iterations"),
        (["mine", "path=fields", "tasks=0"], "data.split.tasks is 0"),
        (["mine", "path=fields", "chunk=[3,4,4]"], "nearest sizes that fit: 2 or 4"),
        (["mine", "path=fields", "chunk=[4,4"], "chunk=[4,4 is no value; write lists as [1,2,3]"),
        (["mine", "path=fields", "data=lwfa"], "data is 'lwfa'; expected openpmd or efield_npy"),
        (["mine", "path=nowhere"], "data.path is nowhere, but there is no such file or folder"),
        (["mine", "path=e_%T.h5"], "holds the project with its results"),
        (["mine", "path=x.sst"], "x.sst is a stream"),
        (["mine", "path=fields/data_0.npy"], "is one array; give the folder"),
        (["mine", "path=other"], "has no data_<iteration>.npy, but field.npy; rename them"),
        (["mine", "path=one"], "there is 1 iteration; at least two are needed"),
        (["mine", "path=s.h5"], "available: rho; name the one to learn: record=..."),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(arguments, said, project, tools) -> None:
    write_folder(project / "fields", (4, 4, 4), 4)
    write_folder(project / "one", (4, 4, 4), 1)
    (project / "other").mkdir()
    np.save(project / "other/field.npy", np.zeros(3))
    write_series(project / "s.h5", (8,), "rho", "", 3)
    before = tools.contents(project)
    arguments = [a.replace("path=", "data.path=") for a in arguments]
    with pytest.raises(UserError) as caught:
        main(arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tools.contents(project) == before


def test_only_what_was_written_here_is_written_over(project) -> None:
    write_folder(project / "fields", (4, 4, 4), 10)
    main(["mine", "data.path=fields"])
    with pytest.raises(UserError, match="is there already; give force=true"):
        main(["mine", "data.path=fields", "tasks=1"])
    main(["mine", "data.path=fields", "tasks=1", "force=true"])
    file = project / "conf/data/mine.yaml"
    assert yaml.safe_load(file.read_text())["split"]["tasks"] == 1
    file.write_text(file.read_text().replace(MARK, "# mine"))
    with pytest.raises(UserError, match="was not written by new_experiment"):
        main(["mine", "data.path=fields", "force=true"])


@pytest.mark.parametrize("broken", ["conf/experiment", "conf/data"])
def test_both_files_are_written_or_none(broken, project) -> None:
    write_folder(project / "fields", (4, 4, 4), 4)
    (project / f"{broken}/mine.yaml").parent.rename(project / "aside")
    (project / broken).write_text("no folder")
    with pytest.raises((UserError, OSError)):
        main(["mine", "data.path=fields", "data=efield_npy"])
    assert not list((project / "conf").rglob("mine.yaml"))


def test_values_that_look_odd_are_mentioned(project, capsys) -> None:
    for name, value in (("zeros", 0.0), ("gaps", np.nan)):
        (project / name).mkdir()
        for k in range(4):
            np.save(project / f"{name}/data_{k}.npy", np.full((3, 4, 4, 4), value, "f4"))
    main(["zeros", "data.path=zeros"])
    assert "all values of iterations 0 and 3 are zero" in capsys.readouterr().err
    main(["gaps", "data.path=gaps"])
    assert "iteration 0 has NaN or infinity" in capsys.readouterr().err


@pytest.mark.parametrize(
    "shape",
    [(16, 320, 16), (17, 31, 13), (100, 60), (1000,), (997,), (1, 1, 1), (2, 3), (64, 1, 64)],
)
def test_chunks_divide_and_models_of_them_learn(shape) -> None:
    chunk = chunk_of(shape)
    assert all(n % c == 0 for n, c in zip(shape, chunk, strict=True))
    assert math.prod(chunk) <= 9000
    model, values = model_of((2, *chunk))
    if model != "mlp":
        from insituml import models

        assert model == "hybrid"
        learner = models.HybridAutoEncoder((2, *chunk), **values)
        assert sum(p.numel() for p in learner.parameters()) < 2_000_000


def test_tasks_and_latents() -> None:
    assert [tasks_of(n) for n in (2, 3, 4, 9, 10, 24, 25, 1000)] == [1, 1, 2, 2, 2, 4, 5, 5]
    assert [latents_of(n) for n in (1, 3000, 13_824, 10**9)] == [8, 8, 32, 64]
    few = propose(range(0, 100, 10), 3, (16, 16, 16), 8)
    many = propose(range(1000), 3, (64, 64, 64), 8)
    assert few.steps(8) >= 150
    assert many.epochs == 3


def test_a_new_key_takes_its_place_in_its_section() -> None:
    text = data_text("# old\na: 1 # one\nb:\n  c: 2 # two\nd: 3\n", {"b.e": "x", "b.c": [1]}, [])
    assert text == f'{MARK}\na: 1 # one\nb:\n  e: "x"\n  c: [1] # two\nd: 3\n'
