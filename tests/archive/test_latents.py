"""A checkpoint applies to a raw field: against chunks cut, scaled and assembled by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import insituml
from insituml.archive import FieldCode, pack_latents, unpack_latents
from insituml.data import Grid, Manifest, Normalisation, TaskInfo
from insituml.learner import ContinualLearner
from insituml.models import MLP, AutoEncoder2D, AutoEncoder3D

CHUNK = (4, 6, 5)
SCALES = [
    Normalisation(np.array([1e9, -2e9, 0.0]), np.array([2e9, 3e11, 7e8])),
    Normalisation(np.array([5e9, 1e9, 2e8]), np.array([9e9, 1e11, 4e8])),
]


def manifest(chunk: tuple[int, ...] = CHUNK, kind: str = "field", **changes: Any) -> Manifest:
    tasks = tuple(
        TaskInfo(f"task {k}", 4, 2, scale, (2 * k, 2 * k + 1), (2 * k,))
        for k, scale in enumerate(SCALES)
    )
    grid = Grid(chunk, (1e-6,) * len(chunk), (0.0,) * len(chunk), ("x", "y", "z")[: len(chunk)])
    values: dict[str, Any] = {
        "name": "lwfa",
        "kind": kind,
        "in_transit": False,
        "columns": ("inputs",),
        "sample_shape": (3, *chunk),
        "condition_size": 0,
        "components": ("Ex", "Ey", "Ez"),
        "unit": "V/m",
        "grid": grid,
        "chunk": chunk,
        "permuted": False,
        "tasks": tasks,
        "times": {},
        "origins": {},
        "fingerprint": "",
    }
    return Manifest(**{**values, **changes})


def trained(model: ContinualLearner | None = None, task: int = 1, **changes: Any) -> Any:
    learner = model or MLP(input_shape=(3, *CHUNK), hidden_sizes=[8], latent_size=4)
    learner.metadata = {"manifest": manifest(**changes).to_plain(), "task": task}
    return learner


def raw(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    size = np.array([2e9, 3e11, 7e8]).reshape(-1, *(1,) * len(shape))
    return (size * rng.normal(size=(3, *shape))).astype(np.float32)


def by_hand(
    learner: ContinualLearner, volume: np.ndarray, scale: Normalisation
) -> tuple[list[np.ndarray], np.ndarray]:
    """Encode and decode chunk by chunk in loops over places, filling up with the last value."""
    mean, std = (values.reshape(3, 1, 1, 1) for values in (scale.mean, scale.std))
    latents, restored = [], np.full(volume.shape, np.nan)
    nx, ny, nz = volume.shape[1:]
    for x in range(0, nx, CHUNK[0]):
        for y in range(0, ny, CHUNK[1]):
            for z in range(0, nz, CHUNK[2]):
                i = np.minimum(np.arange(x, x + CHUNK[0]), nx - 1)
                j = np.minimum(np.arange(y, y + CHUNK[1]), ny - 1)
                k = np.minimum(np.arange(z, z + CHUNK[2]), nz - 1)
                sample = (volume[:, i][:, :, j][:, :, :, k] - mean) / std
                with torch.no_grad():
                    latent = learner.encode(torch.from_numpy(sample)[None])
                    back = learner.decode(latent)[0].numpy() * std + mean
                latents.append(latent[0].numpy())
                inside = restored[:, x : x + CHUNK[0], y : y + CHUNK[1], z : z + CHUNK[2]]
                inside[...] = back[:, : inside.shape[1], : inside.shape[2], : inside.shape[3]]
    return latents, restored


@pytest.mark.parametrize("shape", [(4, 6, 5), (8, 12, 10), (5, 13, 4), (1, 1, 1), (9, 6, 11)])
@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_chunks_and_scale_are_those_of_a_loop(shape: tuple[int, ...], batch_size: int) -> None:
    learner, volume = trained(), raw(*shape)
    latents = insituml.encode_field(learner, volume, batch_size=batch_size)
    restored = insituml.decode_field(learner, latents, batch_size=batch_size)
    expected, field = by_hand(learner, volume, SCALES[1])
    np.testing.assert_allclose(latents.values, expected, rtol=1e-5, atol=1e-6)
    assert restored.dtype == np.float32
    for after, before, size in zip(restored, field, SCALES[1].std, strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-5 * size)


class Copy(ContinualLearner):
    """Its latent is its input."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.one

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return latent


@pytest.mark.parametrize("chunk, shape", [((8,), (21,)), ((4, 3), (7, 8)), (CHUNK, (9, 7, 5))])
def test_a_perfect_learner_gives_the_field_back(
    chunk: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    learner, volume = trained(Copy(), chunk=chunk), raw(*shape)
    restored = insituml.decode_field(learner, insituml.encode_field(learner, volume))
    assert restored.shape == volume.shape
    for after, before, size in zip(restored, volume, SCALES[1].std, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6 * size)


def test_two_dimensions_as_the_model_has_them() -> None:
    model = AutoEncoder2D((3, 8, 6), channels=[4], latent_size=3)
    learner = trained(model, chunk=(8, 6))
    latents = insituml.encode_field(learner, raw(16, 7))
    assert latents.values.shape == (4, 3)
    assert insituml.decode_field(learner, latents).shape == (3, 16, 7)


def test_the_scale_is_that_of_the_last_task_learned_or_of_the_one_asked_for() -> None:
    volume = raw(*CHUNK)
    for task, asked, used in [(0, None, 0), (1, None, 1), (-1, None, 0), (1, 0, 0), (0, 1, 1)]:
        learner = trained(task=task)
        latents = insituml.encode_field(learner, volume, task=asked)
        assert latents.task == used
        expected, _ = by_hand(learner, volume, SCALES[used])
        np.testing.assert_allclose(latents.values, expected, rtol=1e-5, atol=1e-6)
        # Decoding takes the scale from the latents, not from what the learner has seen since.
        learner.metadata["task"] = 1 - used
        _, field = by_hand(learner, volume, SCALES[used])
        restored = insituml.decode_field(learner, latents)
        np.testing.assert_allclose(restored / 3e11, field / 3e11, rtol=0, atol=1e-5)


def test_the_latent_alone_is_decoded_where_the_model_also_keeps_indices() -> None:
    model = AutoEncoder3D((3, *CHUNK), channels=[4], latent_size=3, downsampling="pool")
    learner, volume = trained(model), raw(*CHUNK)
    restored = insituml.decode_field(learner, insituml.encode_field(learner, volume))
    sample = torch.from_numpy(SCALES[1].apply(volume[None]))
    with torch.no_grad():
        latent_alone = learner.decode(learner.encode(sample)).numpy()
        with_indices = learner(sample)[1].numpy()
    np.testing.assert_allclose(SCALES[1].apply(restored[None]), latent_alone, rtol=0, atol=1e-5)
    assert np.abs(latent_alone - with_indices).max() > 1e-3


def test_the_learner_is_left_as_it_was_and_nothing_has_a_graph() -> None:
    class Forgetful(Copy):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(super().encode(x), 0.5, self.training)

    learner = trained(Forgetful()).train()
    first, second = (insituml.encode_field(learner, raw(*CHUNK)) for _ in range(2))
    assert learner.training
    assert not first.values.requires_grad
    assert torch.equal(first.values, second.values)


def test_what_kind_of_array_arrives_does_not_matter() -> None:
    learner, volume = trained(), raw(5, 7, 9)
    expected = insituml.encode_field(learner, volume).values
    for same in (
        torch.from_numpy(volume),
        torch.from_numpy(volume).requires_grad_(),
        volume.astype(np.float64),
        np.asfortranarray(volume),
    ):
        assert torch.equal(insituml.encode_field(learner, same).values, expected)


def test_five_lines_from_a_file(tmp_path: Path) -> None:
    model = AutoEncoder3D((3, *CHUNK), channels=[4], latent_size=3)
    path = model.save_checkpoint(tmp_path, "mine", 1, manifest=manifest())
    learner = insituml.load_checkpoint(path)
    latents = insituml.encode_field(learner, raw(9, 7, 5))
    restored = insituml.decode_field(learner, latents)
    assert (latents.task, restored.shape) == (1, (3, 9, 7, 5))
    # Saved again, it still says what its data mean.
    again = insituml.load_checkpoint(learner.save_checkpoint(tmp_path, "again", 0))
    assert FieldCode.of(again).task == 0
    assert torch.equal(insituml.encode_field(again, raw(9, 7, 5), task=1).values, latents.values)


def test_a_learner_that_says_nothing_of_its_data(tmp_path: Path) -> None:
    model = Copy()
    with pytest.raises(ValueError, match=r"Copy does not say what data .*manifest="):
        insituml.encode_field(model, raw(*CHUNK))
    loaded = insituml.load_checkpoint(
        MLP(input_shape=(3, 4), hidden_sizes=[2], latent_size=1).save_checkpoint(tmp_path, "m", 0)
    )
    with pytest.raises(ValueError, match="MLP does not say what data it was trained on"):
        insituml.encode_field(loaded, raw(*CHUNK))


def test_points_are_no_field() -> None:
    learner = trained(kind="points", name="toy8", grid=None)
    with pytest.raises(ValueError, match=r"trained on points \(toy8\), not on a field"):
        insituml.encode_field(learner, raw(*CHUNK))


@pytest.mark.parametrize("shape", [(4, 6, 5), (2, 4, 6, 5), (1, 3, 4, 6, 5), (3, 4, 0, 5)])
def test_a_volume_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(3, n0, n1, n2\).*Ex, Ey, Ez in V/m"):
        insituml.encode_field(trained(), np.zeros(shape, np.float32))


def test_nan_is_named() -> None:
    volume = raw(*CHUNK)
    volume[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="Ey is NaN or infinite at 5 of 120 points"):
        insituml.encode_field(trained(), volume)


def test_no_such_task() -> None:
    with pytest.raises(ValueError, match=r"describes 2 task\(s\).*none with number 2"):
        insituml.encode_field(trained(), raw(*CHUNK), task=2)
    with pytest.raises(ValueError, match=r"describes 0 task\(s\).*choose one after a task"):
        insituml.encode_field(trained(task=-1, tasks=()), raw(*CHUNK))


def test_latents_of_another_volume() -> None:
    latents = insituml.encode_field(trained(), raw(8, 6, 5))
    with pytest.raises(ValueError, match=r"2 chunks .* has 1 chunks"):
        insituml.decode_field(trained(), replace(latents, shape=CHUNK))


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_a_field_by_its_bytes_alone(storage: str) -> None:
    learner, volume = trained(), raw(9, 7, 5)
    kept = insituml.encode_field(learner, volume, storage=storage)
    restored = insituml.decode_field(learner, unpack_latents(pack_latents([kept]))[0])
    np.testing.assert_array_equal(restored, insituml.decode_field(learner, kept))
    exact = insituml.decode_field(learner, insituml.encode_field(learner, volume))
    assert np.abs(restored - exact).max() <= 0.02 * np.abs(exact).max()


def test_storages_that_there_are_not_and_scales_that_are_not_used() -> None:
    learner, volume = trained(), raw(*CHUNK)
    with pytest.raises(ValueError, match="storage is 'int4'; expected one of float32, float16"):
        insituml.encode_field(learner, volume, storage="int4")
    with pytest.raises(ValueError, match="a scale arrived, which is of int8"):
        insituml.encode_field(learner, volume, storage="float16", scale=torch.ones(4))
