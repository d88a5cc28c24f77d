"""The versions of the libraries that results depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = {
    "computing": ("hydra-core", "numpy", "omegaconf", "scipy", "torch", "torchmetrics", "zuko"),
    "data": ("fbpic", "numba", "openpmd-api", "pyfftw", "scikit-learn"),
    "figures": ("matplotlib", "pandas"),
}
"""By what they decide: dvc.yaml names the groups that a stage depends on."""


def versions() -> dict[str, dict[str, str | None]]:
    """Return group, library and version; None: not installed. Nothing is imported."""
    found = {group: {name: _version(name) for name in names} for group, names in LIBRARIES.items()}
    found["computing"]["python"] = platform.python_version()
    return found


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
