"""All stages in one process with next to no training: whether everything runs, in seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from insituml_pipelines.common import log
from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.composition import CONF, check_composition, key_of
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.located import find_from_here

FOLDER = "debug"
PROFILE = ["training=debug", "tracking=none"]
CHOICES = ("experiment", "data", "model", "optimizer")
FEW = {"data.split.tasks": 2, "data.source.iterations": 20}
"""Tasks of data that may be cut at will, enough to forget; iterations of a field in closed form."""
FEW_EPOCHS = 2
"""Of a method that trains until it gets no better, whatever the budget."""


def walk_through(overrides: Sequence[str], folder: Path | None = None) -> None:
    """Run generate, split, train and evaluate (each method) and plot.

    Parameters
    ----------
    overrides
        Of the configuration, besides the profile.
    folder
        Where results are written; None: ``debug/`` in the working directory.

    Raises
    ------
    UserError
        If the overrides do not fit.
    SystemExit
        If a stage fails, which has said why.
    """
    from insituml_pipelines import evaluate, generate, plot, split, train

    began = time.monotonic()
    given = [*_chosen(overrides), *PROFILE, *overrides]
    config = check_composition(Arguments(given))
    given += [*_paths_from_here(config), *_less_data(config, overrides)]
    methods = _methods(config)
    find_from_here()  # modules of the user's own, which are not below the new folder
    folder = folder or Path.cwd() / FOLDER
    folder.mkdir(exist_ok=True)
    with chdir(folder):
        _call("generate", generate.command, given)
        _call("split", split.command, given)
        for method in methods:
            _call("train", train.command, [*given, f"method={method}", *_ending_soon(method)])
            _call("evaluate", evaluate.command, [*given, f"method={method}"])
        _call("plot", plot.command, given)
    log.say(
        f"\ndebug: everything ran, in {time.monotonic() - began:.0f} s; look at "
        f"{folder.name}/figures/leaderboard.png (so little training says nothing about methods)"
    )


def _chosen(overrides: Sequence[str]) -> list[str]:
    """Return what conf/pipeline.yaml chooses, but for what an experiment that is given chooses."""
    keys = {key_of(override) for override in overrides}
    if "experiment" in keys:
        return []
    chosen: Any = OmegaConf.load(CONF / "pipeline.yaml")
    wanted = [key for key in CHOICES if key not in keys]
    for key in wanted:
        if key not in chosen:
            raise UserError(
                f"{CONF / 'pipeline.yaml'} has no {key}; add the line `{key}: NAME`, of a file in "
                f"conf/{key}"
            )
    return [f"{key}={chosen[key]}" for key in wanted]


def _methods(config: DictConfig) -> list[str]:
    """Return the methods to train, each of which there is."""
    methods = config.pipeline.get("methods")
    if not isinstance(methods, ListConfig) or not methods:
        raise UserError(
            f"pipeline.methods is {methods!r}; expected a list, such as "
            "pipeline.methods=[naive,ewc]"
        )
    known = sorted(file.stem for file in (CONF / "method").glob("*.yaml"))
    for method in methods:
        if method not in known:
            raise UserError(
                f"pipeline.methods has {method!r}, of which there is no file in conf/method; "
                f"choose of: {', '.join(known)}"
            )
    return list(map(str, methods))


def _less_data(config: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Return fewer tasks and iterations, if they may be as few as one likes and nobody chose."""
    chosen = set(map(key_of, overrides))
    asked = {key: OmegaConf.select(config, key) for key in FEW if key not in chosen}
    return [
        f"{key}={FEW[key]}"
        for key, value in asked.items()
        if isinstance(value, int) and value > FEW[key]
    ]


def _paths_from_here(config: DictConfig) -> list[str]:
    """Return the path of outside data as it is seen from the folder of the results."""
    path = config.data.get("path")
    if not path or Path(path).is_absolute():
        return []
    return [f'data.path="{Path.cwd() / path}"']


def _ending_soon(method: str) -> list[str]:
    options = OmegaConf.load(CONF / "method" / f"{method}.yaml")
    # Epochs and rounds until nothing improves, and a start as in ordinary training.
    few = {"max_epochs": FEW_EPOCHS, "rounds": 1, "cumulative_start": "false"}
    return [f"method.{key}={value}" for key, value in few.items() if key in options]


def _call(name: str, command: Callable[[], None], arguments: list[str]) -> None:
    """Call a stage as its command does, in this process: to load everything again takes longest."""
    before = sys.argv
    sys.argv = [f"insituml {name}", *arguments]
    try:
        command()
    finally:
        sys.argv = before
