"""The versions of libraries are noted without loading any of them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy
import torch

from insituml_pipelines.common import versions as module
from insituml_pipelines.common.versions import LIBRARIES, versions
from insituml_pipelines.versions import main

ROOT = Path(__file__).parents[2]


def test_versions_are_those_of_the_libraries_that_run() -> None:
    found = versions()
    assert found["computing"]["torch"] == torch.__version__
    assert found["computing"]["numpy"] == numpy.__version__
    assert found["computing"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "mlflow" not in {name for group in found.values() for name in group}


def test_the_same_libraries_give_the_same_bytes(tmp_path) -> None:
    file = tmp_path / "data/versions.json"
    main(file)
    before = file.read_bytes()
    main(file)
    assert file.read_bytes() == before
    assert json.loads(before) == versions()


def test_a_library_that_is_not_installed_is_a_version_too(monkeypatch) -> None:
    def none(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", none)
    assert versions()["data"] == dict.fromkeys(LIBRARIES["data"])


def test_nothing_is_loaded() -> None:
    code = (
        "import sys; from insituml_pipelines.versions import versions; versions();"
        "assert not {'torch', 'numpy', 'hydra'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
