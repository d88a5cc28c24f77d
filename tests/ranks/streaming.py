"""Learn as ``insituml stream`` does, evaluation and figures left out, or as ``insituml train``."""

from __future__ import annotations

from pathlib import Path

from insituml_pipelines.common.launcher import is_follower
from insituml_pipelines.runs.together import follow
from insituml_pipelines.stream import SECTIONS, finish, learn, plan
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.train import SECTIONS as OF_TRAINING
from insituml_pipelines.train import main
from tests.pipelines.conftest import invoke


def stream(*overrides: str) -> None:
    """Learn in the working folder, as one of several ranks or alone."""
    if is_follower():
        follow()
        return
    prepared = plan(invoke(Path.cwd(), SECTIONS, *overrides))
    training, _ = learn(prepared, Tracker())
    finish(prepared, training, Path.cwd() / "transit")


def train(*overrides: str) -> None:
    """Train on files in the working folder, likewise."""
    if is_follower():
        follow()
    else:
        main(invoke(Path.cwd(), OF_TRAINING, *overrides))
