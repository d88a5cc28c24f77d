"""A change of the code's shape changes no number: tiny runs, from files and from a stream.

``golden.json`` was written by the version before the two ways were made of the same pieces. Bits
differ between kinds of CPU, by far less than the tolerance here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from insituml import load_checkpoint
from insituml_pipelines.common.schema import Data, validate
from insituml_pipelines.generate import generate
from insituml_pipelines.split import split
from insituml_pipelines.stream import SECTIONS as STREAM
from insituml_pipelines.stream import finish, learn, plan
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.train import SECTIONS as TRAIN
from insituml_pipelines.train import main as train

GOLDEN: dict[str, dict[str, float]] = json.loads(
    (Path(__file__).parent / "golden.json").read_text()
)
METHODS = ["naive", "ewc", "agem", "experience_replay", "joint"]
DATA = [
    "data=lwfa",
    "data.source.shape=[2,256,2]",
    "data.source.iterations=12",
    "data.split.chunk=[2,64,2]",
    "data.split.tasks=3",
    "data.split.validation=null",
]
LEARNER = [
    "model=mlp",
    "model.hidden_sizes=[8]",
    "model.latent_size=2",
    "optimizer.lr=1e-3",
    "training.schedule=constant",
    "training.warmup_steps=0",
    "training.seeds=[0]",
    "training.memory_size=9",
    "training.reference_size=4",
    "training.workers=0",
    "tracking=none",
]


def numbers(file: Path) -> dict[str, float]:
    learner = load_checkpoint(file)
    squares = [weight.double().square().sum() for weight in learner.state_dict().values()]
    history = learner.metadata["loss_history"]
    norm = float(torch.stack(squares).sum().sqrt())
    return {"steps": len(history), "last_loss": history[-1], "weights_norm": norm}


def test_from_files(tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = validate(Data, tools.invoke(tmp_path, ["data"], *DATA).section("data"), "data")
    generate(data, tmp_path / "data/raw")
    split(data, tmp_path / "data/raw", tmp_path / "data/tasks")
    for method in METHODS:
        more = [f"method={method}", "training.epochs=3"]
        train(tools.invoke(tmp_path, TRAIN, *LEARNER, *more))
        found = numbers(tmp_path / f"runs/{method}/seed_0/task_2.pt")
        assert found == pytest.approx(GOLDEN[f"file {method}"], rel=1e-4), method


def test_in_transit(tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["transit.batches_per_iteration=3", f"transit.methods=[{','.join(METHODS)}]"]
    prepared = plan(tools.invoke(tmp_path, STREAM, *DATA, *LEARNER, *more))
    training, code = learn(prepared, Tracker())
    assert code == 0
    finish(prepared, training, tmp_path)
    for method in METHODS:
        found = numbers(tmp_path / f"runs/{method}/seed_0/task_2.pt")
        assert found == pytest.approx(GOLDEN[f"stream {method}"], rel=1e-4), method
