"""What runs are called and tagged, and where their metrics and figures stand in MLflow's lists."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from insituml_pipelines.runs.identity import Identity

FILES, TRANSIT = "files", "transit"
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Opens an experiment on its runs; MLflow would look for traces of language models."""


def in_transit(identity: Identity) -> bool:
    """Return whether a run learned from a stream: there epochs are no matter of its own."""
    return "epochs" not in identity.training


def experiment_of(identity: Identity, name: str) -> str:
    """Return the MLflow experiment: errors of files and of streams are not one chart's."""
    return f"{name} in transit" if in_transit(identity) else name


def parent_name(identity: Identity, facts: Mapping[str, Any]) -> str:
    """Return such as ``lwfa HybridAutoencoder 2026-11-28 12:31``."""
    when = time.strftime("%Y-%m-%d %H:%M")
    if sweep := facts.get("sweep"):
        return f"sweep {sweep['title']} {when}"
    title = facts["data"]["name"] if "data" in facts else "pipeline"
    return f"{title} {_model(identity)} {when}"


def child_name(identity: Identity, facts: Mapping[str, Any]) -> str:
    """Return such as ``ewc seed 0``, or ``ewc strength=10 seed 0`` in a sweep."""
    varied = (facts.get("sweep") or {}).get("varied", {})
    said = [f"{key.rpartition('.')[2]}={value}" for key, value in varied.items()]
    return " ".join([identity.method_name, *said, f"seed {identity.seed}"])


def shared_tags(identity: Identity, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that a parent and its children have in common."""
    data, code = facts.get("data", {}), facts.get("code", {})
    tags = {
        "data": data.get("name", ""),
        "experiment": facts.get("experiment", ""),
        "model": _model(identity),
        "source": TRANSIT if in_transit(identity) else FILES,
        "sweep": (facts.get("sweep") or {}).get("name", ""),
        **code,
        "mlflow.source.git.commit": code.get("git_commit", ""),
        "mlflow.source.name": "insituml stream" if in_transit(identity) else "insituml train",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": user(),
    }
    return {key: value for key, value in tags.items() if value}


def child_tags(identity: Identity, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of one seed of a method."""
    return {
        **shared_tags(identity, facts),
        "method": identity.method_name,
        "seed": str(identity.seed),
        "code": identity.code[:16],
    }


def metric_name(key: str) -> str:
    """Return the name of a metric in MLflow, which draws those before one slash together.

    Those that compare methods at a glance stand first, without a slash.
    """
    part, name = ("", key)
    if key.startswith("validation_"):
        part, name = "validation/", key.removeprefix("validation_")
    if name.startswith("final_") and name != "final_average_error":
        return f"{part}final/{name.removeprefix('final_')}"
    return key


def figure_place(file: PurePath, methods: Iterable[str]) -> PurePath:
    """Return ``<kind>/<name>.png`` of a figure, which lies in one folder with all others.

    ``loss_matrix_ewc.png`` is ``loss_matrix/ewc.png``; one of all methods is a ``comparison``.
    """
    for method in sorted(methods, key=len, reverse=True):
        kind, found, rest = file.stem.partition(f"_{method}")
        if found and rest[:1] in ("", "_"):
            return PurePath(kind, f"{method}{rest}{file.suffix}")
    return PurePath("comparison", file.name)


def _model(identity: Identity) -> str:
    return str(identity.model.get("_target_", "model")).rpartition(".")[2]


def user() -> str:
    """Return who records; empty for a process without an account."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a process without an account, as in a container
        return ""
