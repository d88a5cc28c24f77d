"""The stages of a project depend on insituml as it is installed, and on classes of one's own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from insituml_pipelines import init
from insituml_pipelines.project import code
from insituml_pipelines.project.code import code_digests, own_digests
from insituml_pipelines.project.graph import code_of_stages, graph_of_project
from insituml_pipelines.versions import main as note_versions

ROOT = Path(__file__).parents[2]
OURS = (ROOT / "dvc.yaml").read_text()
OWN = {
    "generate": ["experiment", "data"],
    "split": ["experiment", "data"],
    "train": ["experiment", "model", "optimizer", "method"],
    "evaluate": ["experiment", "model", "method"],
    "plot": ["experiment"],
    "report": ["experiment"],
    "stream": ["experiment", "data", "model", "optimizer", "method"],
}


def test_a_graph_is_ours_but_for_the_code() -> None:
    ours, theirs = yaml.safe_load(OURS), yaml.safe_load(graph_of_project(OURS))
    for name, stage in ours["stages"].items():
        if name == "versions":
            continue
        stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith("insituml")]
        (versions,) = (entry for entry in stage["params"] if "data/versions.json" in entry)
        chosen = {"method": "method.${item.method}"} | (
            {"method": "method"} if name == "stream" else {}
        )
        own = [f"own.{chosen.get(group, f'{group}.${{{group}}}')}" for group in OWN[name]]
        versions["data/versions.json"] += [f"code.{name}", *own]
    assert theirs == ours


def test_the_code_of_each_stage_is_read_off_the_graph() -> None:
    stages: dict[str, dict[str, Any]] = yaml.safe_load(OURS)["stages"]
    code_of = {
        name: [dep for dep in stage.get("deps", []) if dep.startswith("insituml")]
        for name, stage in stages.items()
    }
    assert code_of_stages(OURS) == {name: deps for name, deps in code_of.items() if deps}


CHANGED = {
    "insituml/plots/loss_matrix.py": {"plot", "report", "stream"},
    "insituml/methods/ewc.py": {"train", "evaluate", "stream"},
    "insituml_pipelines/split.py": {"split"},
    "insituml_pipelines/reporting/templates/style.css": {"report"},
    "insituml/version.py": set(),
    "insituml_pipelines/tracking/mlflow.py": set(),
}


def test_a_version_that_changes_a_file_touches_the_stages_that_run_it(
    tmp_path, monkeypatch
) -> None:
    for part in ("insituml", "insituml_pipelines"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    monkeypatch.setattr(code, "INSTALLED", tmp_path)
    before = code_digests()
    assert set(before) == set(OWN)
    # Byte code is no source.
    (tmp_path / "insituml/plots/__pycache__").mkdir()
    (tmp_path / "insituml/plots/__pycache__/a.pyc").write_bytes(b"")
    assert code_digests() == before
    for path, stages in CHANGED.items():
        text = (tmp_path / path).read_text()
        (tmp_path / path).write_text(text + "# newer\n")
        after = code_digests()
        assert {stage for stage in OWN if before[stage] != after[stage]} == stages, path
        (tmp_path / path).write_text(text)


def test_an_own_class_counts_with_what_it_imports(tmp_path) -> None:
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "parts/deep").mkdir(parents=True)
    (tmp_path / "conf/model/ours.yaml").write_text("_target_: insituml.models.MLP\n")
    (tmp_path / "conf/model/mine.yaml").write_text("_target_: parts.net.Net\n")
    files = {
        "parts/__init__.py": "",
        "parts/net.py": "import torch\nfrom . import blocks\nfrom .deep.layer import Layer\n",
        "parts/blocks.py": "",
        "parts/deep/layer.py": "def f():\n    import helpers.more\n",
        "helpers.py": "from ..above import it\nfrom ...........far import it\n",
        "unused.py": "",
    }
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    (tmp_path / "conf/model/going_on.yaml").write_text("defaults:\n- mine\n- _self_\nwidth: 1\n")
    before = own_digests(tmp_path)["model"]
    assert before["going_on"] == before["mine"]
    assert before["ours"] is None
    for path in files:
        (tmp_path / path).write_text(files[path] + "# changed\n")
        same = own_digests(tmp_path)["model"] == before
        assert same == (path == "unused.py"), path
        (tmp_path / path).write_text(files[path])
    (tmp_path / "parts/blocks.py").write_text("no python (")
    assert own_digests(tmp_path)["model"] != before  # and what is wrong with it train says


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # of DVC's own doing
def test_dvc_runs_again_what_used_a_file_that_changed(tmp_path, monkeypatch) -> None:
    """Each stage's command makes its outputs and no more; what runs when is DVC's own doing."""
    project = tmp_path / "mine"
    init.main([str(project)])
    monkeypatch.chdir(project)
    graph = yaml.safe_load((project / "dvc.yaml").read_text())
    for name in ("versions", "stream", "report"):
        del graph["stages"][name]
    for stage in graph["stages"].values():
        stage["outs"] = outputs = [*stage["outs"], *stage.pop("metrics", [])]
        stage["cmd"] = " && ".join(
            f"mkdir -p $(dirname {out}) && rm -rf {out} && "
            + (f"echo {{}} > {out}" if "." in out else f"mkdir {out} && echo > {out}/stream.json")
            for out in outputs
        )
    (project / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    chosen = project / "conf/pipeline.yaml"
    chosen.write_text(
        "experiment: digits\ndata: digits\nmodel: mlp\noptimizer: adam\n"
        "source: conf/data/digits.yaml\nmethods: [naive, my_method]\n"
    )

    def ran() -> set[str]:
        note_versions()
        with Repo(str(project)) as repo:
            return {stage.addressing for stage in repo.reproduce()}

    assert len(ran()) == 7
    for name in ("my_method.py", "my_model.py"):  # of which nothing uses the second
        with (project / name).open("a") as file:
            file.write("# changed\n")
    assert ran() == {"train@my_method", "evaluate@my_method"}
    monkeypatch.setattr(
        "insituml_pipelines.versions.code_digests", lambda: code_digests() | {"plot": "newer"}
    )
    assert ran() == {"plot"}


def test_own_modules_are_those_that_the_template_names(tmp_path) -> None:
    init.main([str(tmp_path / "mine")])
    found = own_digests(tmp_path / "mine")
    named = {f"{group}.{name}" for group, names in found.items() for name in names if names[name]}
    assert named == {"model.my_model", "method.my_method"}
    assert all(re.fullmatch("[0-9a-f]{64}", found[k][f"my_{k}"] or "") for k in ("model", "method"))
