"""A script that lies beside a clone called insituml imports the package, not the folder."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_package_comes_before_a_folder_of_its_name(tmp_path) -> None:
    clone = tmp_path / "insituml"
    (clone / "insituml").mkdir(parents=True)
    (clone / "insituml/__init__.py").write_text("")
    # The script's folder first, then what an editable install adds.
    found = PathFinder.find_spec("insituml", [str(tmp_path), str(clone)])
    assert found is not None
    assert found.origin == str(clone / "insituml/__init__.py")
    # It adds the folder itself where the packages' root is said to be the project's; by default
    # setuptools would ask its own finder, after the folder beside the script was found.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["package-dir"] == {"": "."}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("image", ["compare_methods.png", "examples/toy8_over_time.png"])
def test_git_does_not_show_what_examples_draw(image, tmp_path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    ignored = subprocess.run(["git", "check-ignore", image], cwd=tmp_path, check=False)
    assert ignored.returncode == 0
    kept = subprocess.run(["git", "check-ignore", "docs/images/a.png"], cwd=tmp_path, check=False)
    assert kept.returncode == 1
