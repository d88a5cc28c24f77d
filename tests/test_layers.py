"""Imports point downward only, and heavy packages stay where they belong (docs/architecture.md)."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]

# An import may stay on its level or go down; what is on no level is a file of its own below.
LEVELS = [
    [
        "atomic_file",
        "compressor_packages",
        "lazy_names",
        "locations",
        "safe_reading",
        "shards",
        "stand_in",
        "version",
    ],
    ["constructor_arguments", "gap", "plain_content", "physical_metrics", "ranks"],
    ["rank_rows"],
    ["estimates", "metric", "power_spectrum", "relative_error", "structural_similarity"],
    ["reconstruction_loss"],
    ["rebuilding", "verified_file"],
    ["checkpoint_file"],
    ["data", "gradients", "memory", "metrics", "plots", "significance", "stream", "toy_data"],
    ["field_energy", "original_interface", "physical_errors"],
    ["learner", "mean_errors", "methods", "models"],
    ["execution", "model_class", "progress", "records", "replicas", "trainable", "unseen"],
    ["optimisation"],
    ["dealing", "sharding"],
    ["checkpoint", "evaluation", "training"],
    ["archive", "in_transit"],
]
LEVEL = {part: number for number, parts in enumerate(LEVELS) for part in parts}
PACKAGE_LEVEL = len(LEVELS)  # `import insituml` itself; pipelines are above it

# Arrows on one level are forbidden but for these.
SIDEWAYS = {
    ("memory", "data"),
    ("methods", "learner"),
    ("mean_errors", "learner"),
    ("methods", "mean_errors"),
    ("models", "learner"),
    ("data", "toy_data"),
    ("plots", "metrics"),
    ("stream", "data"),
}

# Who alone may import a package; everything else must not.
OWNERS = {
    "matplotlib": ["insituml/plots/"],
    "openpmd_api": [
        "insituml/data/openpmd/",
        "insituml/stream/",
    ],
    "fbpic": ["insituml/data/fbpic.py"],
    "numba": ["insituml/data/fbpic.py"],
    "pyfftw": ["insituml/data/fbpic.py"],
    "threadpoolctl": ["insituml/data/fbpic.py"],
    "mlflow": ["insituml_pipelines/tracking/"],
    "zuko": ["insituml/models/coupling.py"],
}
PIPELINES_ALONE = ["hydra", "omegaconf", "dvc", "pydantic", "pandas", "tqdm"]
PIPELINES_ALONE += ["insituml_pipelines"]
PIPELINES_ALONE += ["sklearn", "filelock", "jinja2", "markupsafe", "rich"]
OWNERS |= {name: ["insituml_pipelines/"] for name in PIPELINES_ALONE}
OWNERS["sklearn"] = ["insituml_pipelines/", "insituml/data/images/digits.py"]

# What a part must not know at all.
UNKNOWN = {
    "insituml/gradients/": {"pathlib", "os", "io", "logging", "torch.optim"},
    "insituml/methods/": {
        *("pathlib", "os", "io", "logging"),
        *("insituml.ranks", "insituml.rank_rows", "torch.distributed"),
    },
    "insituml/models/": {"pathlib", "os", "io", "logging"},
    "insituml/plots/": {"torch"},
}

BLOCKED = ["hydra", "omegaconf", "dvc", "mlflow", "pydantic", "pandas"]
BLOCKED += ["insituml_pipelines", "pipelines"]
BLOCKED += ["fbpic", "numba", "pyfftw", "threadpoolctl", "pysz", "zfpy"]


def imports_of(source: str, path: str) -> Iterator[tuple[int, str]]:
    """Yield the line and full name of everything a file imports, inside functions too."""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def part_of(path: str) -> str:
    """Return the part of insituml a file belongs to, such as ``gradients``; "" for the package."""
    part = path.split("/")[1].removesuffix(".py")
    return "" if part == "__init__" else part


def violations(source: str, path: str) -> list[str]:
    """Say what is wrong with the imports of a file, one sentence each."""
    found = []
    for line, name in imports_of(source, path):
        where = f"{path}:{line} imports {name}"
        owners = OWNERS.get(name.split(".")[0])
        if owners is not None and not path.startswith(tuple(owners)):
            found.append(f"{where}: only {' and '.join(owners)} may")
        for prefix, unknown in UNKNOWN.items():
            if path.startswith(prefix) and any(f"{name}.".startswith(f"{u}.") for u in unknown):
                found.append(f"{where}: {prefix} knows no such thing")
        if not path.startswith("insituml/") or name.split(".")[0] != "insituml":
            continue
        source_part, target = part_of(path), f"{name}.".split(".")[1]
        if source_part and source_part not in LEVEL:
            found.append(f"{path} is on no level; add {source_part} to LEVELS")
            continue
        own = LEVEL.get(source_part, PACKAGE_LEVEL)
        other = LEVEL.get(target, PACKAGE_LEVEL)  # a name of the package, such as insituml.train
        if other > own:
            found.append(f"{where}: the arrow points up")
        elif (
            other == own
            and other != PACKAGE_LEVEL
            and source_part != target
            and (source_part, target) not in SIDEWAYS
        ):
            found.append(f"{where}: {source_part} knows no {target}")
    return found


def files() -> list[str]:
    found = [*(ROOT / "insituml").rglob("*.py"), *(ROOT / "insituml_pipelines").rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@pytest.mark.parametrize("path", files())
def test_imports_point_downward(path: str) -> None:
    assert violations((ROOT / path).read_text(), path) == []


@pytest.mark.parametrize(
    "path, source, problem",
    [
        ("insituml/gradients/x.py", "from insituml.methods import EWC", "points up"),
        ("insituml/gradients/x.py", "from insituml import methods", "points up"),
        ("insituml/gradients/x.py", "import insituml.learner", "points up"),
        ("insituml/gradients/x.py", "def f():\n    from ..learner import a", "points up"),
        ("insituml/gradients/x.py", "from insituml.data.task import Task", "knows no data"),
        ("insituml/gradients/x.py", "from torch.optim import SGD", "no such thing"),
        ("insituml/gradients/x.py", "from torch import optim", "no such thing"),
        ("insituml/learner.py", "from insituml import train", "points up"),
        ("insituml/learner.py", "import insituml", "points up"),
        ("insituml/learner.py", "from insituml.models import MLP", "knows no models"),
        ("insituml/models/x.py", "from insituml.methods.base import Method", "knows no methods"),
        ("insituml/models/x.py", "from .. import methods", "knows no methods"),
        ("insituml/methods/x.py", "from insituml.training import train", "points up"),
        ("insituml/methods/x.py", "from insituml.models import MLP", "knows no models"),
        ("insituml/methods/x.py", "from pathlib import Path", "no such thing"),
        ("insituml/methods/x.py", "from insituml import ranks", "no such thing"),
        ("insituml/methods/x.py", "from ..ranks import total", "no such thing"),
        ("insituml/methods/x.py", "def f():\n    import torch.distributed as d", "no such thing"),
        ("insituml/methods/x.py", "from torch import distributed", "no such thing"),
        ("insituml/estimates.py", "from insituml.data.task import Batch", "points up"),
        ("insituml/plots/x.py", "from insituml.models import MLP", "points up"),
        ("insituml/plots/x.py", "import torch.nn as nn", "no such thing"),
        ("insituml/verified_file.py", "from insituml.data.task import Task", "points up"),
        ("insituml/atomic_file.py", "import insituml.verified_file", "points up"),
        ("insituml/evaluation.py", "from insituml.training import train", "knows no training"),
        ("insituml/training.py", "import matplotlib.pyplot as plt", "only insituml/plots/ may"),
        ("insituml_pipelines/plot.py", "from matplotlib import pyplot", "only insituml/plots/ may"),
        ("insituml/data/lwfa.py", "import openpmd_api", "only insituml/data/openpmd/"),
        (
            "insituml_pipelines/train.py",
            "def f():\n    import mlflow",
            "only insituml_pipelines/tracking/ may",
        ),
        (
            "insituml/training.py",
            "from omegaconf import DictConfig",
            "only insituml_pipelines/ may",
        ),
        (
            "insituml/training.py",
            "import insituml_pipelines.tracking.mlflow",
            "only insituml_pipelines/ may",
        ),
        ("insituml/new_part.py", "import insituml.version", "on no level"),
    ],
)
def test_the_check_notices(path: str, source: str, problem: str) -> None:
    (found,) = violations(source, path)
    assert problem in found


@pytest.mark.parametrize(
    "path, source",
    [
        ("insituml/__init__.py", "from insituml.training import train"),
        ("insituml/methods/ewc.py", "from insituml.learner import ContinualLearner"),
        ("insituml/methods/ewc.py", "from .base import Method"),
        ("insituml/methods/ewc.py", "from insituml.estimates import draw"),
        ("insituml/models/mlp.py", "from ..learner import ContinualLearner"),
        ("insituml/memory/x.py", "from insituml.data.task import Batch"),
        ("insituml/plots/x.py", "from matplotlib.figure import Figure"),
        ("insituml/plots/x.py", "from insituml.plots.style import save"),
        ("insituml/stream/x.py", "import openpmd_api as io"),
        ("insituml_pipelines/tracking/mlflow.py", "import mlflow"),
        (
            "insituml_pipelines/train.py",
            "import hydra\nimport insituml\nimport insituml_pipelines.runs",
        ),
    ],
)
def test_the_check_lets_pass(path: str, source: str) -> None:
    assert violations(source, path) == []


def test_every_arrow_on_one_level_is_needed() -> None:
    found = set()
    for path in files():
        if path.startswith("insituml/"):
            for _, name in imports_of((ROOT / path).read_text(), path):
                if name.startswith("insituml."):
                    found.add((part_of(path), name.split(".")[1]))
    assert found >= SIDEWAYS


IMPORT_EVERYTHING = f"""
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
for name in {BLOCKED}:
    try:
        __import__(name)
    except ImportError as error:
        assert "is blocked" in str(error), error
    else:
        raise AssertionError(name + " is not blocked")

import insituml
names = ["insituml", *(m.name for m in pkgutil.walk_packages(insituml.__path__, "insituml."))]
for name in names:
    importlib.import_module(name)
for name in insituml.__all__:
    getattr(insituml, name)
print(*names)
"""


PACKAGES = sorted(path.parent.name for path in (ROOT / "insituml").glob("*/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_are_no_submodules(package: str) -> None:
    """To import a submodule sets its name in the package, in place of what is exported."""
    module = importlib.import_module(f"insituml.{package}")
    submodules = {path.stem for path in (ROOT / "insituml" / package).glob("*.py")}
    lazy = getattr(module, "_MODULES", {})
    assert not submodules & lazy.keys()
    for name in getattr(module, "__all__", ()):
        assert not isinstance(getattr(module, name), ModuleType), name


def test_the_library_imports_without_the_pipelines_packages() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in files()
        if path.startswith("insituml/")
    }
    assert set(done.stdout.split()) == modules
