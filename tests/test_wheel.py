"""What is released: the wheel and the sdist, and a project that the installed wheel sets up.

The environment that it is installed into has the dependencies of this one, but neither our clone
nor an editable install.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from insituml.version import __version__

ROOT = Path(__file__).parents[1]
SOURCES = ("insituml", "insituml_pipelines", "pipelines", "conf", ".dvc/plots", ".github")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "dvc.yaml")
FILES += (".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", "constraints.txt")
FILES += ("mkdocs.yml", ".pre-commit-config.yaml")
BUILD = """
from setuptools import build_meta
build_meta.build_sdist({folder!r})
build_meta.build_wheel({folder!r})
"""
PIPELINE = """
import importlib, shlex, sys
from functools import partial
import pytest
from dvc.repo import Repo

def call(module, *arguments):
    sys.argv[:] = [module, *arguments]
    importlib.import_module(module).command()

import insituml, insituml_pipelines
installed = sys.argv[1]
for package in (insituml, insituml_pipelines):
    assert package.__file__.startswith(installed), package.__file__
call("insituml_pipelines.select", "experiment=toy8", "model=my_model")
from insituml_pipelines.results import figures

def draw_here(draw, jobs, workers, hear):
    for number, job in enumerate(jobs):
        draw(partial(hear, number), *job)

figures.do_side_by_side = draw_here  # processes take seconds to start
figures.draw_method = lambda *arguments: None
with Repo(".") as repo:
    commands = [(s.cmd, [o.def_path for o in s.outs]) for s in repo.index.stages]
for command, outputs in commands:
    python, option, module, *arguments = shlex.split(command)
    assert (python, option) == ("python", "-m")
    if module in ("insituml_pipelines.stream", "insituml_pipelines.report"):
        continue  # which need the same again, in transit
    call(module, *arguments)
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider"]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a wheel and an sdist, built of a copy: a build leaves files behind."""
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("needs setuptools 77 or newer, of the extra `test`")
    folder = tmp_path_factory.mktemp("release")
    clone, dist = folder / "clone", folder / "dist"
    for part in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, clone / part, ignore=ignored)
    for name in FILES:
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    run(sys.executable, "-c", BUILD.format(folder=str(dist)), cwd=clone)
    return dist


def run(*command: str | Path, cwd: Path) -> str:
    # Without what would lead to the clone.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=kept | {"DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def of_clone(part: str) -> dict[str, bytes]:
    files = [file for file in (ROOT / part).rglob("*") if file.is_file()]
    return {file.relative_to(ROOT).as_posix(): file.read_bytes() for file in files}


def test_a_wheel_holds_no_package_of_a_general_name(built) -> None:
    (file,) = built.glob("*.whl")
    assert file.name == f"insituml-{__version__}-py3-none-any.whl"
    with ZipFile(file) as wheel:
        names = wheel.namelist()
        assert {name.split("/")[0] for name in names} == {
            "insituml",
            "insituml_pipelines",
            f"insituml-{__version__}.dist-info",
        }
        # Every module, and the one configuration that there is.
        for package in ("insituml", "insituml_pipelines"):
            ours = {path for path in of_clone(package) if "__pycache__" not in path}
            assert ours <= set(names)
        below = "insituml_pipelines/project/repository/"
        expected = of_clone("conf") | of_clone(".dvc/plots")
        for name in (".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", "dvc.yaml"):
            expected[name] = (ROOT / name).read_bytes()
        bundled = {
            name.removeprefix(below): wheel.read(name) for name in names if name.startswith(below)
        }
        assert bundled == expected


def test_an_sdist_holds_what_the_wheel_is_built_of(built) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"setup.py", "pyproject.toml", "dvc.yaml", ".dvc/config", "constraints.txt"} <= names
    assert {"mkdocs.yml", ".pre-commit-config.yaml"} <= names
    for part in ("conf", ".dvc/plots", ".github", "insituml_pipelines/project/files"):
        assert {path for path in of_clone(part) if "__pycache__" not in path} <= names


def test_the_version_is_said_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == __version__
    released = re.findall(r"(?m)^## \[?(\d\S*?)\]? ", (ROOT / "CHANGELOG.md").read_text())
    assert __version__ in released


def test_the_pythons_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = "Programming Language :: Python :: 3."
    classified = [c.removeprefix(named) for c in project["classifiers"] if c.startswith(named)]
    minors = list(map(int, classified))
    assert minors == sorted(minors)
    assert project["requires-python"] == f">=3.{minors[0]}"
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert matrix == [f"3.{minor}" for minor in minors]
    tried = re.search(r"(?m)^PYTHONS := (.*)$", (ROOT / "Makefile").read_text())
    assert tried is not None
    assert tried[1].split() == [*(f"python3.{minor}" for minor in minors[::-1]), "python3"]
    commands = [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    assert "bash .ci/run" in commands


def test_the_wheel_alone_sets_up_a_project_that_runs(built, tmp_path) -> None:
    environment, project = tmp_path / "environment", tmp_path / "a project"
    venv.create(environment, symlinks=True)
    python = environment / "bin/python"
    (packages,) = environment.glob("lib/python*/site-packages")
    # A folder that is named so is searched, its own .pth files (an editable install) are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel, cwd=tmp_path)
    said = run(environment / "bin/insituml", "init", project, cwd=tmp_path)
    assert "insituml repro" in said
    shrink(project)
    run(python, "-c", PIPELINE, environment.resolve(), cwd=project)

    board = (project / "results/leaderboard.csv").read_text()
    assert {"naive", "my_method"} <= {line.split(",")[0] for line in board.splitlines()}
    assert (project / "figures/leaderboard.png").exists()
    assert "0 files differ" in run(environment / "bin/insituml", "init", "--diff", cwd=project)


def shrink(project: Path) -> None:
    """Make the pipeline of a project a matter of seconds."""
    file = project / "conf/pipeline.yaml"
    chosen = yaml.safe_load(file.read_text()) | {"methods": ["naive", "my_method"]}
    file.write_text(yaml.safe_dump(chosen, sort_keys=False))
    file = project / "conf/config.yaml"
    file.write_text(file.read_text().replace("tracking: mlflow", "tracking: none"))
    file = project / "conf/experiment/toy8.yaml"
    content = yaml.safe_load(file.read_text()) | {"data": {"source": {"points": 16}}, "model": {}}
    content["training"] = {"epochs": 1, "seeds": [0], "workers": 0, "reference_size": 4}
    file.write_text("# @package _global_\n" + yaml.safe_dump(content, sort_keys=False))
