"""A run's model, by MLflow's loader and by ours."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from insituml import load_checkpoint
from insituml.locations import GROUP
from insituml_pipelines.evaluate import evaluate_method
from insituml_pipelines.tracking.mlflow import MlflowTracker
from insituml_pipelines.train import train_method

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def declared(monkeypatch) -> None:
    """The entry points of pyproject.toml: an environment made before them does not know them."""
    text = (ROOT / "pyproject.toml").read_text()
    table = tomllib.loads(text)["project"]["entry-points"][GROUP]
    found = importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(name, value, GROUP) for name, value in table.items()
    )
    monkeypatch.setattr("insituml.locations.entry_points", lambda group: found)


def test_a_recorded_run_is_a_working_learner(
    declared, make_run, tools, tmp_path, monkeypatch, capsys
) -> None:
    import mlflow

    stream = tools.make_stream(tools.points_data(), tmp_path)
    run = make_run("naive", 1, stream, folder=tmp_path / ".partial/naive/seed_1")
    tracker = MlflowTracker(
        "mlflow.db", "tests", f"sqlite:///{tmp_path}/runs.db", register="toy", system_metrics=0.05
    )
    train_method([run], 0, 1, tmp_path, tracker)
    evaluate_method("naive", stream, tmp_path, tracker)
    tracker.close()
    assert "tracking" not in capsys.readouterr().err

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    (found,) = mlflow.MlflowClient().search_runs(["1"], "tags.method = 'naive'")
    assert any(key.startswith("system/cpu") for key in found.data.metrics)
    own = load_checkpoint(tmp_path / "runs/naive/seed_1/task_2.pt")
    samples = torch.from_numpy(stream.array(0, "test_inputs").copy())
    expected = own.decode(own.encode(samples))
    address = f"runs:/{found.info.run_id}"
    for place in (address, f"{address}/model", f"{address}/model/task_2.pt", "models:/toy/1"):
        learner = load_checkpoint(place)
        assert torch.equal(learner.decode(learner.encode(samples)), expected)
        assert learner.metadata["seed"] == 1

    model = mlflow.pyfunc.load_model(f"{address}/model")
    np.testing.assert_array_equal(model.predict(samples.numpy()), expected.detach().numpy())
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 2)
    place = str(tmp_path / "mlruns" / found.info.run_id / "artifacts/model")
    example = model.metadata.load_input_example(place)
    assert example.shape == (1, 2)
    np.testing.assert_allclose(example[0], stream.array(0, "train_inputs")[0], rtol=1e-2)

    for missing, message in (
        ("runs:/" + 32 * "0" + "/model", "is not in"),
        (f"{address}/model/none.pt", "is not in"),
        ("models:/toy/7", "is not in"),
    ):
        with pytest.raises(FileNotFoundError, match=message) as caught:
            load_checkpoint(missing)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(FileNotFoundError, match=r"there is no .*none.db; change to the folder"):
        load_checkpoint(address)
    assert not (tmp_path / "none.db").exists()


def test_what_cannot_be_called_is_kept_as_its_checkpoint(make_run, tools, tmp_path, capsys) -> None:
    from insituml_pipelines.tracking.model_folder import ModelError, write_model

    broken = tmp_path / "task_0.pt"
    broken.write_bytes(b"no checkpoint")
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError, match=r"DamagedFileError|CheckpointFormatError"):
        write_model(tmp_path / "model", broken)
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["task_0.pt"]


def test_library_asks_installed_packages_for_addresses(tmp_path, monkeypatch, make_run) -> None:
    """With a package of its own on the path, as pip leaves it."""
    package = tmp_path / "shelf-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[{GROUP}]\nshelf = shelf_locations:fetch\n")
    (tmp_path / "shelf_locations.py").write_text(
        "from pathlib import Path\n\n\ndef fetch(address, folder):\n"
        "    file = folder / 'x.pt'\n"
        "    file.write_bytes(Path(address.removeprefix('shelf:/')).read_bytes())\n"
        "    return file\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    learner = make_run().recipe.build()[0]
    stored = learner.save_checkpoint(tmp_path, "a", 0)
    again = load_checkpoint(f"shelf:/{stored}")
    for key, value in learner.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    with pytest.raises(ValueError, match=r"no installed package fetches nowhere: \(there are: "):
        load_checkpoint("nowhere:/else")
    with pytest.raises(FileNotFoundError):
        load_checkpoint("C:/nothing.pt")
