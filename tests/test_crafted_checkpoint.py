"""Checkpoints that someone made by hand: nothing runs, nothing is allocated, one line says why."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from insituml import ContinualLearner, load_checkpoint
from insituml.models import MLP, AutoEncoder3D, ConditionalFlow
from insituml.verified_file import read_verified, write_verified


def signed(content: bytes) -> bytes:
    """End a zip archive as insituml does."""
    body = content[:-2] + (64).to_bytes(2, "little")
    return body + hashlib.sha256(body).hexdigest().encode()


def saved(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("good")
    return read_verified(MLP(3, (4,), 2).save_checkpoint(folder, "x", 0))


def refused(state_or_bytes: Any, folder: Path) -> str:
    """Load a crafted file; return the one line that refuses it."""
    path = folder / "crafted.pt"
    raw = isinstance(state_or_bytes, bytes)
    path.write_bytes(state_or_bytes if raw else signed(saved(state_or_bytes)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"crafted\.pt") as raised:
            load_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        {"latent_size": 10**12}, {"latent_size": 10**30}, {"hidden_sizes": (10**12,)},
        {"hidden_sizes": (10**12, 10**12)}, {"hidden_sizes": [4] * 5000}, {"input_shape": 10**12},
        {"input_shape": (10**6, 10**6)}, {"latent_size": -1}, {"latent_size": "2"},
        {"latent_size": None}, {"activation": "no"}, {"activation": ["tanh"]}, {"loss": 3},
        {"unknown": 1}, {"*": [1, 2, 3, 4, 5, 6, 7]}, {"*": 3}, {"latent_size": 3},
        {"hidden_sizes": {5: 4}}, {"input_shape": float("nan")}, {"generator": 3},
    ],
)  # fmt: skip
def test_arguments_that_the_weights_contradict(change, good, tmp_path: Path) -> None:
    arguments = {**good["model_arguments"], **change}
    said = refused({**good, "model_arguments": arguments}, tmp_path)
    assert "MLP" in said


def test_bombs_of_other_models(tmp_path: Path) -> None:
    models: list[tuple[ContinualLearner, dict[str, Any]]] = [
        (AutoEncoder3D((1, 4, 4, 4), (2,), 2), {"convolutions": 10**9}),
        (AutoEncoder3D((1, 4, 4, 4), (2,), 2), {"channels": (10**9,)}),
        (AutoEncoder3D((1, 4, 4, 4), (2,), 2), {"input_shape": (1, 10**5, 10**5, 10**5)}),
        (ConditionalFlow(2, 1, hidden_sizes=(4,)), {"couplings": 10**9}),
        (ConditionalFlow(2, 1, hidden_sizes=(4,)), {"bins": 10**12}),
    ]
    for model, change in models:
        state = read_verified(model.save_checkpoint(tmp_path, "x", 0))
        state["model_arguments"] |= change
        assert type(model).__name__ in refused(state, tmp_path)


def test_tensors_that_show_more_than_is_stored(good, tmp_path: Path) -> None:
    one = torch.zeros(1)
    name = next(iter(good["weights"]))
    for tensor, reason in (
        (one.expand(10**12), "a tensor of shape (1000000000000,) shows numbers twice"),
        (torch.zeros(4, 3).t(), "a tensor of shape (3, 4) shows numbers twice"),
        (torch.zeros(9).as_strided((3, 4), (1, 1)), "shows numbers twice"),
        (torch.empty(3, 4, device="meta"), "on meta; expected plain numbers"),
        (torch.eye(3).to_sparse(), "torch.sparse_coo on cpu; expected plain numbers"),
        (torch.nn.Parameter(one), "it holds a Parameter"),
    ):
        said = refused({**good, "weights": {**good["weights"], name: tensor}}, tmp_path)
        assert reason in said
    big = torch.zeros(10**6)
    said = refused({**good, "metadata": {"a": [big.view(-1) for _ in range(1000)]}}, tmp_path)
    assert "its tensors take more than" in said


@pytest.mark.parametrize(
    "change",
    [
        {"weights": None}, {"weights": []}, {"weights": {}}, {"weights": {1: torch.zeros(1)}},
        {"weights": {"a": "b"}}, {"metadata": None}, {"metadata": [1]}, {"metadata": "x"},
        {"model_class": None}, {"model_class": ["a"]}, {"model_class": 3}, {"model_class": "x"},
        {"model_arguments": None}, {"model_arguments": [3]}, {"model_arguments": {1: 2}},
        {"model_generators": 3}, {"model_generators": ["no"]}, {"model_frozen": {}},
        {"model_transient": []}, {"model_transient": {"a": 3}}, {"training": 3}, {"training": {}},
        {"format": 2}, {"format": "1"}, {"format": True}, {"format": None}, {"format": [1] * 9999},
        {"format": 99, "metadata": 3}, {"format": 0, "metadata": {"versions": 3}},
        {"metadata": {1, 2}}, {"metadata": {"a": b"x"}},
    ],
)  # fmt: skip
def test_wrong_types_and_keys(change, good, tmp_path: Path) -> None:
    """For what it holds: the file itself is whole."""
    said = refused({**good, **change}, tmp_path)
    reasons = ("is no checkpoint of insituml: ", "holds ", "was written by insituml ")
    assert any(f"crafted.pt {reason}" in said for reason in reasons)


@pytest.mark.parametrize("key", ["model_class", "model_arguments", "weights", "metadata", "format"])
def test_missing_keys(key: str, good, tmp_path: Path) -> None:
    said = refused({k: v for k, v in good.items() if k != key}, tmp_path)
    # Without a format it counts as one of before there were formats.
    assert ("in checkpoint format 0" if key == "format" else f": {key} is missing; exp") in said


def test_missing_additional_and_wrong_weights(good, tmp_path: Path) -> None:
    weights = good["weights"]
    name = next(iter(weights))
    fewer = {k: v for k, v in weights.items() if k != name}
    more = {**weights, "more": torch.zeros(1)}
    other = {**weights, name: torch.zeros(1)}
    for changed, reason in (
        (fewer, f"build a MLP with {name}"),
        (more, "build a MLP without more"),
        (other, f"build a MLP whose {name}"),
        ({**weights, name: 3}, f"build a MLP whose {name}"),
        ({**weights, name: "x"}, f"build a MLP whose {name}"),
    ):
        assert reason in refused({**good, "weights": changed}, tmp_path)


def test_files_that_are_no_checkpoint(good, tmp_path: Path) -> None:
    whole = signed(saved(good))
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    unsigned = "is damaged, or was not written by insituml"
    unsafe = "holds what cannot be read safely"
    for content, reason in (
        *((c, unsigned) for c in (b"", b"x", whole[:-1], whole[: len(whole) // 2], whole + b"\0")),
        *((c, unsigned) for c in (saved(good), bytes(100), b"\x80\x04\x95" * 50)),
        (signed(b"PK\5\6" + b"\0" * 18), unsafe),
        (signed(b"no archive at all"), f"{unsafe}: File is not a zip file"),
        (signed(saved([1])), f"{unsafe}: it holds a list, no dictionary"),
        (signed(saved(torch.zeros(3))), f"{unsafe}: it holds a Tensor, no dictionary"),
        (signed(saved({**good, "metadata": {"a": nested[0][0]}})), "nested more than 100 deep"),
    ):
        assert reason in refused(content, tmp_path)
    with pytest.raises(ValueError, match="folder"):
        load_checkpoint(tmp_path)


def test_an_archive_that_unpacks_to_more_than_it_is(good, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    before = zipfile.ZipFile(io.BytesIO(saved(good)))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as after:
        for entry in before.namelist():
            content = before.read(entry)
            after.writestr(entry, bytes(10**8) if entry.endswith("data/0") else content)
    assert "compressed" in refused(signed(buffer.getvalue()), tmp_path)


def test_weights_that_are_no_numbers_come_back_as_they_are(tmp_path: Path) -> None:
    learner = MLP(3, (4,), 2)
    with torch.no_grad():
        next(learner.parameters()).fill_(float("nan"))
    loaded = load_checkpoint(learner.save_checkpoint(tmp_path, "x", 0))
    assert next(loaded.parameters()).isnan().all()


def test_a_good_file_is_written_as_before(good, tmp_path: Path) -> None:
    assert isinstance(load_checkpoint(write_verified(tmp_path / "a.pt", good)), MLP)
