"""Checkpoints give back a ready learner, a user's own included, and say what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import insituml
from insituml import DamagedFileError, load_checkpoint, save_checkpoint
from insituml.checkpoint import resume
from insituml.checkpoint_file import (
    CheckpointFile,
    CheckpointFormatError,
    drop_training_state,
    read_checkpoint_file,
    write_checkpoint_file,
)
from insituml.data.task import Task
from insituml.methods import AGEM, EWC, ExperienceReplay, Naive
from insituml.model_class import UntrustedModelError
from insituml.models import MLP, AutoEncoder3D
from insituml.verified_file import read_verified, write_verified

METADATA = {
    "task": 2,
    "losses": [0.5, 0.25],
    "config": {"training": {"lr": 1e-3, "name": None}, "on": True},
    "curve": torch.arange(3),
}

USER_MODULE = """
import torch
from torch import nn
from insituml import ContinualLearner


class Outer:
    class MyModel(ContinualLearner):
        def __init__(self, width, *, factor=1.0, **kwargs):
            super().__init__(**kwargs)
            self.layer = nn.Linear(3, width)
            self.factor = factor

        def forward(self, x):
            return self.factor * self.layer(x)


class NotALearner:
    pass


def function():
    pass
"""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parts(learner, method=None, *, lr: float = 0.1):
    return {
        "method": method if method is not None else Naive(generator=seeded(1)),
        "optimizer": torch.optim.Adam(learner.parameters(), lr=lr),
        "generator": seeded(2),
    }


def stepped(learner, x):
    """Save-worthy state: an optimizer that has stepped."""
    training = parts(learner)
    learner.loss((x,)).backward()
    training["optimizer"].step()
    return training


def test_load_gives_a_ready_learner_with_its_metadata(tmp_path: Path) -> None:
    learner = AutoEncoder3D((1, 5, 4, 6), (3,), latent_size=4, loss="l1", generator=seeded(9))
    x = torch.randn(2, 1, 5, 4, 6, generator=seeded(0))
    training = stepped(learner, x)
    path = save_checkpoint(tmp_path / "a" / "task_2.pt", learner, **training, metadata=METADATA)
    for given in (path, str(path)):
        loaded = load_checkpoint(given)
        assert type(loaded) is AutoEncoder3D
        assert not loaded.training
        assert torch.equal(loaded(x)[1], learner(x)[1])
        assert torch.equal(loaded.loss((x,)), learner.loss((x,)))
        assert torch.equal(loaded.metadata.pop("curve"), METADATA["curve"])
        assert loaded.metadata == {k: v for k, v in METADATA.items() if k != "curve"}
    assert insituml.load_checkpoint is load_checkpoint
    assert load_checkpoint(path, device="meta").encoder.latent.weight.device.type == "meta"


def test_the_raw_file_opens_in_torch_alone(tmp_path: Path) -> None:
    learner = MLP(3, (4,), 2)
    method = EWC(1.0, generator=seeded(1))
    x = torch.randn(5, 3, generator=seeded(0))
    method.end_task(learner, Task(0, "", (x,), (x,)))
    path = save_checkpoint(tmp_path / "a.pt", learner, **parts(learner, method), metadata={})
    state = torch.load(path, weights_only=True)
    assert state["model_class"] == "insituml.models.mlp:MLP"
    assert state["model_arguments"] == {"input_shape": 3, "hidden_sizes": (4,), "latent_size": 2}
    assert set(state["weights"]) == set(learner.state_dict())
    assert state["format"] == 1
    assert state["training"]["method_class"] == "insituml.methods.ewc:EWC"
    assert {"optimizer", "generator", "method"} < set(state["training"])


def test_older_and_newer_files_are_refused_by_the_version_that_wrote_them(tmp_path: Path) -> None:
    old = {**MLP(3).description(), "metadata": {"versions": {"insituml": "0.1.0"}}}
    with pytest.raises(CheckpointFormatError, match=r"a.pt was written by insituml 0.1.0 in .* 0;"):
        load_checkpoint(write_verified(tmp_path / "a.pt", old))
    new = {"format": 7, "insituml": "9.1"}
    with pytest.raises(CheckpointFormatError, match=r"insituml 9.1 in checkpoint format 7; .* 1:"):
        load_checkpoint(write_verified(tmp_path / "b.pt", new))


def test_a_checkpoint_without_training_state_loads_but_does_not_resume(tmp_path: Path) -> None:
    learner = MLP(3, (4,), 2)
    method = EWC(1.0, generator=seeded(1))
    path = save_checkpoint(tmp_path / "a.pt", learner, **parts(learner, method), metadata={"a": 1})
    size = path.stat().st_size
    drop_training_state(path)
    assert path.stat().st_size < size
    loaded = load_checkpoint(path)
    assert loaded.metadata == {"a": 1}
    for name, value in learner.state_dict().items():
        assert value.equal(loaded.state_dict()[name])
    with pytest.raises(ValueError, match="holds a learner alone: only the last checkpoint"):
        resume(path, learner, **parts(learner, method))


def test_both_ways_of_saving_write_one_format(tmp_path: Path) -> None:
    learner = MLP(3, (4,), 2)
    by_hand = learner.save_checkpoint(tmp_path, "model", 4)
    assert load_checkpoint(by_hand).metadata == {"task": 4}
    assert read_checkpoint_file(by_hand).training is None


@pytest.mark.parametrize("method", ["naive", "agem", "replay"])
def test_the_same_state_gives_the_same_bytes(method: str, tmp_path: Path) -> None:
    contents = []
    x = torch.randn(5, 3, generator=seeded(0))
    for k in range(2):
        # Memory that was used and freed: unused rows of a new tensor may hold its content.
        garbage = [torch.full((1000, 3), float(k + 1)) for _ in range(20)]
        del garbage
        made = {
            "naive": Naive,
            "agem": lambda generator: AGEM(1000, 2, generator=generator),
            "replay": lambda generator: ExperienceReplay(1000, generator=generator),
        }[method](generator=seeded(1))
        learner = MLP(3, (4,), 2)
        made.observe(learner, (x,))
        made.end_task(learner, Task(0, "", (x,), (x,)))
        path = tmp_path / f"{k}.pt"
        save_checkpoint(path, learner, **parts(learner, made), metadata=METADATA)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path: Path) -> None:
    learner = MLP(input_shape=(3,), hidden_sizes=(4,))
    training = stepped(learner, torch.randn(5, 3, generator=seeded(0)))
    first = save_checkpoint(tmp_path / "1.pt", learner, **training, metadata=METADATA)
    loaded = load_checkpoint(first)
    restored = parts(loaded, lr=0.5)
    metadata = resume(first, loaded, **restored)
    second = save_checkpoint(tmp_path / "2.pt", loaded, **restored, metadata=metadata)
    assert first.read_bytes() == second.read_bytes()

    plain = learner.save_checkpoint(tmp_path, "x", 1)
    again = load_checkpoint(plain).save_checkpoint(tmp_path / "again", "x", 1)
    assert plain.read_bytes() == again.read_bytes()


def test_resume_restores_everything_in_place(tmp_path: Path) -> None:
    learner = MLP(3, (4,), 2)
    training = stepped(learner, torch.randn(5, 3, generator=seeded(0)))
    torch.rand(7, generator=training["generator"])
    path = save_checkpoint(tmp_path / "a.pt", learner, **training, metadata=METADATA)
    other = MLP(3, (4,), 2, generator=seeded(77))
    restored = parts(other, Naive(generator=seeded(78)), lr=0.9)
    weight = other.encoder.layers[0].weight
    metadata = resume(path, other, **restored)
    assert metadata["losses"] == METADATA["losses"]
    assert other.encoder.layers[0].weight is weight  # the optimizer still holds this parameter
    for name, value in learner.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    assert restored["optimizer"].param_groups[0]["lr"] == 0.1
    for left, right in zip(
        training["optimizer"].state.values(), restored["optimizer"].state.values(), strict=True
    ):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[k], right[k]) for k in left)
    draws = [torch.rand(3, generator=t["generator"]) for t in (training, restored)]
    assert torch.equal(*draws)
    draws = [torch.rand(3, generator=t["method"].generator) for t in (training, restored)]
    assert torch.equal(*draws)


def test_resume_into_another_model_is_refused(tmp_path: Path) -> None:
    learner = MLP(3, (4,), 2)
    path = save_checkpoint(tmp_path / "a.pt", learner, **parts(learner), metadata={})
    other = MLP(3, (5,), 2)
    with pytest.raises(ValueError, match=r"a\.pt is of another model: .* shape \(5, 3\), where"):
        resume(path, other, **parts(other))


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "users_models.py").write_text(USER_MODULE)
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("users_models", None)


def forget(module: str, cls: type) -> None:
    """As if this were a fresh process, in which nobody has imported the class."""
    sys.modules.pop(module)
    cls.__qualname__ += "_of_another_process"


def test_a_users_class_is_trusted_by_name_or_as_it_stands(user_module, tmp_path: Path) -> None:
    from users_models import Outer

    learner = Outer.MyModel(2, factor=3.0, ewc_lambda=5.0)
    x = torch.ones(1, 3)
    path = learner.save_checkpoint(tmp_path, "mine", 0)
    assert type(load_checkpoint(path)) is Outer.MyModel  # imported already
    for trust in (Outer.MyModel, "users_models", [sys.modules["users_models"]]):
        assert type(load_checkpoint(path, trust=trust)) is Outer.MyModel
    forget("users_models", Outer.MyModel)
    with pytest.raises(
        UntrustedModelError, match=r"mine_after.*trust='users_models'\), or in a co"
    ):
        load_checkpoint(path, trust="other_models")
    assert "users_models" not in sys.modules
    loaded = load_checkpoint(path, trust="users_models")
    assert type(loaded).__qualname__ == "Outer.MyModel"
    assert torch.equal(loaded(x), learner(x))
    assert (loaded.factor, loaded.ewc_lambda) == (3.0, 5.0)


def test_a_trusted_module_that_is_gone_is_named(user_module, tmp_path: Path, monkeypatch) -> None:
    from users_models import Outer

    path = Outer.MyModel(2).save_checkpoint(tmp_path, "mine", 0)
    forget("users_models", Outer.MyModel)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(user_module)])
    with pytest.raises(ValueError, match=r"mine_after_task_0\.pt holds a users_models:Outer.MyMod"):
        load_checkpoint(path, trust="users_models")


@pytest.mark.parametrize("trust", [3, nn.Linear, ["users_models", None], object()])
def test_trust_is_given_to_learners_and_modules(trust, tmp_path: Path) -> None:
    path = MLP(3).save_checkpoint(tmp_path, "a", 0)
    with pytest.raises(TypeError):
        load_checkpoint(path, trust=trust)


@pytest.mark.parametrize(
    "name, message",
    [
        ("users_models:Gone", "users_models:Gone, which cannot be imported"),
        ("users_models:NotALearner", "which is no ContinualLearner"),
        ("users_models:function", "which is no ContinualLearner"),
        ("insituml.models:nn.Linear", "insituml.models:nn.Linear, which cannot be"),
        ("insituml.learner:ContinualLearner.loss", "which is no ContinualLearner"),
        ("insituml.no_such:MLP", "which cannot be imported here"),
        ("insituml.models:", "which cannot be imported"),
        ("os:system", "none of insituml's models"),
        ("insituml_evil:MLP", "none of insituml's models"),
        ("torch.nn:Linear", "none of insituml's models"),
        ("", "none of insituml's models"),
        ("..:x", "none of insituml's models"),
    ],
)
def test_classes_that_cannot_be_a_learner(
    name: str, message: str, user_module, tmp_path: Path
) -> None:
    model = {**MLP(3).description(), "model_class": name}
    path = write_checkpoint_file(tmp_path / "a.pt", CheckpointFile(model, {}))
    with pytest.raises(ValueError, match=message) as raised:
        load_checkpoint(path, trust="users_models")
    assert "a.pt" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    learner = MLP(3, (4,), 2)
    path = learner.save_checkpoint(tmp_path, "model", 4)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    for read in (load_checkpoint, lambda p: resume(p, learner, **parts(learner))):
        with pytest.raises(DamagedFileError, match=r"model_after_task_4\.pt"):
            read(path)


def test_what_a_checkpoint_cannot_hold_is_named(tmp_path: Path) -> None:
    learner = MLP(3, (4,), 2)
    metadata = {"config": {"path": [Path("x")]}}
    with pytest.raises(TypeError, match=r"state\['metadata'\]\['config'\]\['path'\]\[0\] is a Po"):
        save_checkpoint(tmp_path / "a.pt", learner, **parts(learner), metadata=metadata)
    assert list(tmp_path.iterdir()) == []


def test_what_the_learner_was_taught_before_is_not_in_the_weights(tmp_path: Path) -> None:
    learner, x = MLP(3, (4,), 2), torch.randn(5, 3, generator=seeded(0))
    learner.estimate_fisher(x, mse_loss)
    learner.calculate_ref_gradients(x)
    path = learner.save_checkpoint(tmp_path, "a", 0)
    assert set(read_verified(path)["weights"]) == set(MLP(3, (4,), 2).state_dict())
    assert load_checkpoint(path).ewc_loss().item() == 0.0
