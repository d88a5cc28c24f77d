"""Choosing an experiment rewrites the five choices, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from insituml_pipelines import select as module
from insituml_pipelines.common.cli import CONF
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.select import SECTIONS, incomparable, main, select

CHOICES = {"experiment": "pic", "data": "pic", "model": "mlp", "optimizer": "sgd", "method": "ewc"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    target = tmp_path / "pipeline.yaml"
    target.write_text((CONF / "pipeline.yaml").read_text())
    return target


def rest(text: str) -> list[str]:
    """Return what selecting must not touch: comments, methods, blank lines."""
    keys = ("experiment:", "data:", "model:", "optimizer:", "source:")
    kept = [line for line in text.splitlines() if not line.startswith(keys)]
    return kept + [line.partition(" #")[2] for line in text.splitlines()]


@pytest.mark.parametrize(
    "path", ["../shared/data/pic_lwfa", "/a b/my fields: #2", r"C:\new\1", 'odd "quotes".h5', None]
)
def test_choices_are_written_and_the_rest_stays(path: str | None, file: Path) -> None:
    before = file.read_text()
    select(CHOICES, path, file)
    text = file.read_text()
    found = yaml.safe_load(text)
    assert found == {
        **yaml.safe_load(before),
        "experiment": "pic",
        "data": "pic",
        "model": "mlp",
        "optimizer": "sgd",
        "source": path or "conf/data/pic.yaml",
    }
    if "#" not in (path or ""):
        assert rest(text) == rest(before)
    # There and back again is where it started, whatever the path was.
    old = yaml.safe_load(before)
    select(old, old["source"], file)
    assert file.read_text() == before


def test_the_command_writes_what_the_experiment_composes_to(
    file, tools, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(module, "CONF", tmp_path)
    monkeypatch.chdir(tmp_path)
    main(tools.invoke(tmp_path, SECTIONS, "experiment=toy8"))
    found = yaml.safe_load(file.read_text())
    assert found["experiment"] == found["data"] == "toy8"
    assert found["model"] == "mlp"
    assert found["source"] == "conf/data/toy8.yaml"
    assert "experiment toy8" in capsys.readouterr().out


def test_values_are_refused_since_dvc_would_not_see_them(
    file, tools, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(module, "CONF", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = file.read_text()
    for overrides in (["experiment=pic", "data.path=x"], ["experiment=toy8", "training.epochs=3"]):
        with pytest.raises(UserError, match=r"(data\.path|training\.epochs) is a value"):
            main(tools.invoke(tmp_path, SECTIONS, *overrides))
    assert file.read_text() == before


@pytest.mark.parametrize("name, source", [("e_%T.h5", "/runs/diags"), ("e.h5", "/runs/diags/e.h5")])
def test_dvc_tracks_the_folder_of_a_pattern(name: str, source: str, file: Path) -> None:
    select(CHOICES, f"/runs/diags/{name}", file)
    assert yaml.safe_load(file.read_text())["source"] == source


@pytest.mark.parametrize("path", ["e_%T.h5", ".", "./e_%T.h5", "..", "conf/../e_%T.bp", "/"])
def test_what_holds_the_project_is_not_tracked(path: str, file: Path) -> None:
    (file.parent / "conf").mkdir()
    file = file.rename(file.parent / "conf/pipeline.yaml")
    before = file.read_text()
    with pytest.raises(UserError, match=r"holds the project.*data\.path=fields"):
        select(CHOICES, path, file)
    assert file.read_text() == before


def test_a_baseline_that_cannot_be_compared_is_left_out_until_it_can(file: Path) -> None:
    before = file.read_text()
    listed = yaml.safe_load(before)
    flow, mlp = (incomparable(f"insituml.models.{name}") for name in ("ConditionalFlow", "MLP"))
    assert (flow, mlp) == (["incremental_pca"], [])
    for _ in range(2):  # again changes nothing
        select(CHOICES, None, file, without=flow)
        found = yaml.safe_load(file.read_text())
        for key in ("methods", "transit_methods"):
            assert "incremental_pca" in listed[key]
            assert found[key] == [name for name in listed[key] if name != "incremental_pca"]
    select(listed, listed["source"], file, without=mlp)
    assert file.read_text() == before


def test_the_command_says_what_it_leaves_out(file, tools, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "incomparable", lambda target: [target.rpartition(".")[2]])
    monkeypatch.setattr(module, "CONF", tmp_path)
    monkeypatch.chdir(tmp_path)
    main(tools.invoke(tmp_path, SECTIONS, "experiment=toy8_flow"))
    assert "without ConditionalFlow, which reconstructs" in capsys.readouterr().out
