"""Tiny streams and runs for the tests of the stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from insituml.data import TaskFiles
from insituml_pipelines.common.cli import CONF, Invocation, reads_only
from insituml_pipelines.common.schema import Data
from insituml_pipelines.common.task_files import read_tasks
from insituml_pipelines.generate import generate
from insituml_pipelines.runs.recipe import Recipe
from insituml_pipelines.runs.run import Run
from insituml_pipelines.split import split

FIELD_SHAPE = (2, 8, 2)
MODEL = {
    "_target_": "insituml.models.MLP",
    "hidden_sizes": [6],
    "latent_size": 2,
    "activation": "tanh",
    "loss": "mse",
}
METHODS: dict[str, dict[str, Any]] = {
    "naive": {"_target_": "insituml.methods.Naive"},
    "joint": {"_target_": "insituml.methods.Joint"},
    "ewc": {"_target_": "insituml.methods.EWC", "strength": 5.0, "fisher_samples": 4},
    "agem": {
        "_target_": "insituml.methods.AGEM",
        "memory_size": 9,
        "total_tasks": 3,
        "reference_size": 4,
    },
    "experience_replay": {
        "_target_": "insituml.methods.ExperienceReplay",
        "memory_size": 6,
        "replay_size": 3,
    },
}
TRAINING = {
    "epochs": 3,
    "batch_size": 6,
    "max_gradient_norm": 1.0,
    "memory_size": 9,
    "reference_size": 4,
    "seeds": [0, 1],
    "workers": 0,
    "threads": 1,
    "device": "cpu",
    "schedule": "constant",
    "warmup_steps": 0,
    "final_rate": 0.0,
    "decay_share": 0.2,
    "averaging": None,
    "budget": None,
    "accumulate": 1,
    "mirror": [],
    "mirror_kinds": None,
    "mix_iterations": 0,
    "activation_checkpointing": False,
    "precision": "float32",
    "channels_last": False,
    "compile": False,
    "decoder_device": None,
    "sharded": False,
}
MakeRun = Callable[..., Run]


@pytest.fixture(autouse=True)
def torch_is_left_as_it_was() -> Iterator[None]:
    """Training pins threads and asks for determinism; other tests must not notice."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def _draw_here(
    draw: Callable[..., None],
    jobs: Sequence[tuple[Any, ...]],
    workers: int,
    hear: Callable[[int, Any], None],
) -> None:
    for number, job in enumerate(jobs):
        draw(partial(hear, number), *job)


@pytest.fixture
def drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw in this process what a command would draw in others, which take seconds to start."""
    monkeypatch.setattr("insituml_pipelines.results.figures.do_side_by_side", _draw_here)


@pytest.fixture
def nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave figures out, which take longer than everything else."""
    monkeypatch.setattr("insituml_pipelines.results.figures.draw_figures", lambda *arguments: None)


@pytest.fixture
def only_shared_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures of each method, and draw those that compare."""
    monkeypatch.setattr("insituml_pipelines.results.figures.draw_method", lambda *arguments: None)


def write_fields(folder: Path, steps: int = 7) -> np.ndarray:
    """Write data_<100 i>.npy; components differ in scale, and all drift."""
    rng = np.random.default_rng(4)
    scale = np.array([1.0, 60.0, 3.0])[:, None, None, None]
    volumes = np.stack(
        [scale * (rng.normal(size=(3, *FIELD_SHAPE)) + 0.3 * k) for k in range(steps)]
    ).astype(np.float32)
    folder.mkdir(parents=True)
    for k, volume in enumerate(volumes):
        np.save(folder / f"data_{100 * k}.npy", volume)
    return volumes


def field_data(folder: Path, **split: Any) -> Data:
    return Data.model_validate(
        {
            "name": "fields",
            "kind": "field",
            "path": str(folder),
            "source": {
                "_target_": "insituml.data.npy_folder.NpyFolder",
                "path": str(folder),
                "spacing": [2e-6, 1e-6, 2e-6],
            },
            "split": {
                "by": "time",
                "tasks": 3,
                "holdout": 0.3,
                "chunk": [1, 4, 2],
                "normalisation": "first_task",
                "seed": 0,
                **split,
            },
        }
    )


def points_data(**split: Any) -> Data:
    return Data.model_validate(
        {
            "name": "toy8",
            "kind": "points",
            "source": {
                "_target_": "insituml.data.toy8.toy8",
                "points": 16,
                "iterations": 7,
                "duration": 6.0,
            },
            "split": {
                "by": "time",
                "tasks": 3,
                "holdout": 0.25,
                "normalisation": "first_task",
                "seed": 0,
                **split,
            },
        }
    )


def images_data(**split: Any) -> Data:
    return Data.model_validate(
        {
            "name": "digits",
            "kind": "images",
            "source": {"_target_": "insituml.data.images.digits.digits"},
            "split": {
                "by": "label",
                "groups": [[0, 3], [7]],
                "holdout": 0.9,
                "normalisation": "first_task",
                "seed": 0,
                **split,
            },
        }
    )


def make_stream(data: Data, root: Path) -> TaskFiles:
    """Run the first two stages below ``root``."""
    generate(data, root / "data/raw")
    split(data, root / "data/raw", root / "data/tasks")
    return read_tasks(root / "data/tasks")


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> TaskFiles:
    """Three tasks of points in the plane; read only."""
    return make_stream(points_data(), tmp_path_factory.mktemp("points"))


@pytest.fixture
def make_run(points: TaskFiles, tmp_path: Path) -> MakeRun:
    """Return a function that describes a run on ``points``."""

    def make(
        name: str = "naive",
        seed: int = 0,
        stream: TaskFiles = points,
        folder: Path | None = None,
        **changes: Any,
    ) -> Run:
        values: dict[str, Any] = {
            "method_name": name,
            "seed": seed,
            "model": {**MODEL, "input_shape": list(stream.manifest.sample_shape)},
            "method": METHODS[name],
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
            "training": TRAINING,
            "data_fingerprint": stream.manifest.fingerprint,
        }
        place = folder or tmp_path / "partial" / name / f"seed_{seed}"
        return Run(Recipe(**{**values, **changes}), stream.folder, place)

    return make


def invoke(root: Path, sections: Sequence[str], *overrides: str) -> Invocation:
    """Return what a stage's command with these overrides would be called with."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=list(overrides), return_hydra_config=True)
    choices = {k: v for k, v in config.hydra.runtime.choices.items() if not k.startswith("hydra")}
    return Invocation(reads_only(config, sections), root, root, choices, overrides)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def tools() -> Any:
    """The functions of this file, for test modules: they cannot import it."""
    from types import SimpleNamespace

    return SimpleNamespace(
        write_fields=write_fields,
        field_data=field_data,
        points_data=points_data,
        images_data=images_data,
        make_stream=make_stream,
        invoke=invoke,
        contents=contents,
        METHODS=METHODS,
        TRAINING=TRAINING,
        FIELD_SHAPE=FIELD_SHAPE,
    )
