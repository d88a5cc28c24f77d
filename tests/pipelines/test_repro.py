"""`select` and `dvc repro`, as a user calls them, for every experiment on tiny data.

DVC itself runs one experiment, of data from outside; of the others the same stages are called in
this process, which saves a dozen processes each.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from insituml_pipelines import versions
from insituml_pipelines.common.cli import run_stage

ROOT = Path(__file__).parents[2]
METHODS = ["naive", "joint"]
TRAINING = {"epochs": 1, "seeds": [0], "workers": 0, "memory_size": 10, "reference_size": 4}
TINY: dict[str, dict[str, Any]] = {
    "lwfa": {
        "data": {
            "source": {"shape": [2, 256, 2], "iterations": 12},
            "split": {"chunk": [2, 64, 2], "tasks": 3},
        },
        "model": {"channels": [2], "latent_size": 2},
    },
    "pic": {
        "data": {"split": {"chunk": [2, 4, 2], "tasks": 3}},
        "model": {"channels": [2], "latent_size": 2},
    },
    "fbpic": {
        "data": {"source": {"snapshots": 6, "steps_per_snapshot": 20}, "split": {"tasks": 2}},
        "model": {"channels": [2], "latent_size": 2},
    },
    "islands": {
        "data": {
            "source": {"points": 32, "windows": [1, 1], "iterations": 12, "wavelength": [0.2, 0.2]},
            "split": {"chunk": [32, 32], "tasks": 3},
        },
        "model": {"channels": [2], "latent_size": 2},
    },
    "toy8": {"data": {"source": {"points": 16}}, "model": {"hidden_sizes": [4]}},
    "toy8_flow": {
        "data": {"source": {"points": 16}},
        "model": {"couplings": 1, "hidden_sizes": [4], "bins": 3},
    },
    "digits": {"data": {"split": {"holdout": 0.8}}, "model": {"channels": [2], "latent_size": 2}},
    "mnist": {
        "data": {"source": {"limit": 2}},
        "model": {"channels": [2], "latent_size": 2},
    },
    "cifar100": {
        "data": {"source": {"limit": 2}},
        "model": {"channels": [2], "latent_size": 2},
    },
}
BY_DVC = "pic"
LIKE_ANOTHER = ("fbpic", "mnist", "cifar100")
"""Whose figures of each method are those of ``pic`` and ``digits``: the same kind of data."""
DRAWN = "insituml_pipelines.results.figures.draw_method"
"""Draws them, from files and in transit: of ``pic`` both ways, of the others from files."""


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    nested = {k: merged(below.get(k) or {}, v) for k, v in above.items() if isinstance(v, dict)}
    return {**below, **above, **nested}


def shrink(project: Path, experiment: str, **more: Any) -> None:
    file = project / f"conf/experiment/{experiment}.yaml"
    content = merged(yaml.safe_load(file.read_text()), TINY[experiment])
    content = merged(content, {"training": TRAINING, **more})
    file.write_text("# @package _global_\n" + yaml.safe_dump(content, sort_keys=False))
    file = project / "conf/config.yaml"
    file.write_text(file.read_text().replace("tracking: mlflow", "tracking: none"))
    choose(project, methods=METHODS, transit_methods=METHODS)


def choose(project: Path, **methods: list[str]) -> None:
    file = project / "conf/pipeline.yaml"
    chosen = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**chosen, **methods}, sort_keys=False))


def outside_data(experiment: str, tools: Any, published: Any, folder: Path) -> dict[str, Any]:
    """Write what an experiment reads, and return how it is told where."""
    if experiment == "pic":
        tools.write_fields(folder, 9)
        return {"data": {"path": str(folder)}}
    if experiment in ("mnist", "cifar100"):
        folder.mkdir()
        published.write_image_sets(folder)
        return {"data": {"path": str(folder)}}
    return {}


def call(project: Path, *arguments: str, bare: bool = False) -> str:
    """Call a module; ``bare`` as on the cluster that people complain of: neither git nor a home."""
    environment = {**os.environ, "PYTHONPATH": str(project), "DVC_NO_ANALYTICS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    if bare:
        environment |= {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
        environment["PATH"] = str(Path(sys.executable).parent)
        environment.pop("HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def prepared(project: Path, experiment: str, tools: Any, published: Any) -> None:
    """Make a clone in which the experiment is tiny, and the data from outside that it reads."""
    copied(project)
    more = outside_data(experiment, tools, published, project.with_name("files"))
    shrink(project, experiment, **more)


def check_results(root: Path, methods: list[str]) -> None:
    metrics = json.loads((root / "results/metrics.json").read_text())
    assert set(metrics) >= set(methods)
    assert (root / "figures/leaderboard.png").exists()
    for method in methods:
        assert (root / f"runs/{method}/seed_0/task_0.pt").exists()


def ran(said: str) -> list[str]:
    return re.findall("Running stage '([^']*)'", said)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_dvc_runs_what_is_missing_in_a_clone_that_stays_clean(tools, published, tmp_path) -> None:
    project = tmp_path / "Ordner mit Lücke"
    prepared(project, BY_DVC, tools, published)
    choose(project, methods=METHODS[:1])
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(project))
    call(project, "insituml_pipelines.select", f"experiment={BY_DVC}", bare=True)
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "Begin")
    call(project, "dvc", "repro", bare=True)
    check_results(project, METHODS[:1])
    check_results(project / "transit", METHODS)
    assert "In transit" in (project / "report.html").read_text()
    # Nothing that ran once runs again, and what says how long it took is no part of the lock.
    lock = (project / "dvc.lock").read_text()
    again = call(project, "dvc", "repro", bare=True)
    assert ran(again) == ["versions"]  # which looks what is installed
    assert (project / "dvc.lock").read_text() == lock
    assert "timings" not in lock
    assert git(project, "status", "--porcelain") == ""
    # `make baseline`, of which make and the environment are no part here.
    call(project, "dvc", "config", "core.no_scm", "false")
    ignore = project / ".gitignore"
    ignore.write_text(ignore.read_text().replace("/dvc.lock\n", ""))
    git(project, "add", "dvc.lock", ".dvc/config", ".gitignore")
    git(project, "commit", "--quiet", "--message", "Record a baseline")
    assert git(project, "status", "--porcelain") == ""
    file = project / f"conf/experiment/{BY_DVC}.yaml"
    file.write_text(file.read_text().replace("epochs: 1", "epochs: 2"))
    said = call(project, "dvc", "repro", "plot")
    assert ran(said) == ["versions", "train@naive", "evaluate@naive", "plot"]
    assert "final_average_error" in call(project, "dvc", "metrics", "diff")
    assert "epochs" in call(project, "dvc", "params", "diff")
    call(project, "dvc", "plots", "show")
    page = (project / "dvc_plots/index.html").read_text()
    assert "average error on the tasks seen so far" in page


@pytest.fixture
def stage_in(monkeypatch: pytest.MonkeyPatch, drawn_here: None) -> Any:
    """Return a function that calls a stage in a project as ``python -m`` does, in this process."""

    def call_here(project: Path, name: str, *arguments: str) -> None:
        for module in (
            "common.cli",
            "common.composition",
            "common.fitting",
            "common.single_run",
            "plot",
            "select",
        ):
            found = importlib.import_module(f"insituml_pipelines.{module}")
            monkeypatch.setattr(found, "CONF", project / "conf")
        monkeypatch.chdir(project)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        module = importlib.import_module(name)
        run_stage(module.main, module.SECTIONS, "")

    return call_here


@pytest.mark.parametrize("experiment", sorted(TINY.keys() - {BY_DVC}))
def test_every_stage_ends_well(
    experiment, tools, published, tmp_path, stage_in, monkeypatch
) -> None:
    """In the order and with the arguments that DVC takes from ``dvc.yaml``."""
    if experiment == "fbpic":
        pytest.importorskip("fbpic")
    if experiment in LIKE_ANOTHER:
        monkeypatch.setattr(DRAWN, lambda *arguments: None)
    streams = experiment != "fbpic"  # which compiles its code anew in every process: 20 s
    project = tmp_path / "project"
    prepared(project, experiment, tools, published)
    stage_in(project, "insituml_pipelines.select", f"experiment={experiment}")
    with Repo(str(project)) as repo:
        stages = [(s.cmd, [out.def_path for out in s.outs]) for s in repo.index.stages]
    for command, outputs in stages:
        python, option, name, *arguments = shlex.split(command)
        assert (python, option) == ("python", "-m")
        if name == "insituml_pipelines.stream":
            if not streams:
                continue
            monkeypatch.setattr(DRAWN, lambda *arguments: None)
        if name == "insituml_pipelines.versions":  # which reads no configuration
            versions.main()
        else:
            stage_in(project, name, *arguments)
        assert [path for path in outputs if not (project / path).exists()] == []
    check_results(project, METHODS)
    if streams:
        check_results(project / "transit", METHODS)


def copied(project: Path) -> None:
    """Copy what a clone holds, as far as the pipeline needs it."""
    for part in ("insituml", "insituml_pipelines", "conf", ".dvc/plots"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (
        "dvc.yaml",
        ".dvc/config",
        ".dvc/.gitignore",
        ".dvcignore",
        ".gitignore",
        "Makefile",
    ):
        (project / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, project / file)


def git(project: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    command = ["git", *who, *arguments]
    return subprocess.run(
        command, cwd=project, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_what_is_tried_is_there() -> None:
    """An experiment of one's own is tried too once it is entered in TINY."""
    assert set(TINY) <= {file.stem for file in (ROOT / "conf/experiment").glob("*.yaml")}
