"""A decoder in fewer bits: as small and as near as said, and read back to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from insituml.archive.quantised_decoder import load_decoder, quantise_decoder
from insituml.archive.sealed import seal
from insituml.learner import ContinualLearner
from insituml.models import MLP, AutoEncoder3D

SHAPE = (3, 8, 12, 8)


class Components(ContinualLearner):
    """A linear map whose two halves are one basis."""

    def __init__(
        self, size: int = 4, points: int = 600, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        basis = torch.linalg.qr(torch.randn(points, size, generator=random)).Q.T
        self.register_buffer("basis", (basis * 10.0 ** -torch.arange(size)[:, None]).to(dtype))
        self.register_buffer("mean", torch.linspace(-3, 3, points).to(dtype))
        self.register_buffer("seen", torch.tensor(12345678))
        self.gain = nn.Parameter(torch.full((2,), 1e-9))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) @ self.basis.T

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return latent @ self.basis + self.mean


def autoencoder(seed: int = 0, **options: Any) -> AutoEncoder3D:
    generator = torch.Generator().manual_seed(seed)
    return AutoEncoder3D(
        SHAPE, **{"channels": (8, 16), "latent_size": 6, **options}, generator=generator
    )


def relative(after: torch.Tensor, before: torch.Tensor) -> float:
    return float((after - before).detach().norm() / before.detach().norm())


@pytest.mark.parametrize(
    "storage, error", [("float32", 0.0), ("float16", 1e-3), ("int10", 0.005), ("int8", 0.02)]
)
def test_every_weight_is_as_near_as_said(storage: str, error: float) -> None:
    for learner in (autoencoder(), Components(), MLP(5, (7,), 3)):
        quantised = quantise_decoder(learner, storage)
        before, after = learner.state_dict(), quantised.learner.state_dict()
        entries = learner.decoder_entries()
        for name, value in before.items():
            if name not in entries or not value.is_floating_point() or storage == "float32":
                assert torch.equal(after[name], value), name
            elif value.norm() > 0:
                assert relative(after[name], value) <= error, name
                assert after[name].dtype == value.dtype


@pytest.mark.parametrize("storage, levels", [("int8", 127), ("int10", 508)])
def test_each_channel_has_a_step_of_its_own(storage: str, levels: int) -> None:
    learner = Components()
    after = quantise_decoder(learner, storage).learner.state_dict()["basis"]
    for row, quantised in zip(learner.basis, after, strict=True):
        largest = float(row.abs().max())
        np.testing.assert_allclose(quantised, row, rtol=0, atol=0.51 * largest / levels)


def test_what_encodes_is_not_stored_and_does_not_matter() -> None:
    learner = autoencoder()
    kinds = ("float16", "int10", "int8")
    sizes = {kind: len(quantise_decoder(learner, kind).data) for kind in kinds}
    numbers = sum(p.numel() for p in learner.decoder.parameters())
    table = 800
    assert numbers * 0.75 < sizes["int8"] < numbers + table
    assert sizes["int8"] < sizes["int10"] < sizes["float16"] < 2 * numbers + table


@pytest.mark.parametrize("storage", ["float32", "float16", "int10", "int8"])
def test_another_learner_decodes_by_the_bytes_alone(storage: str) -> None:
    learner, other = autoencoder(0), autoencoder(1)
    quantised = quantise_decoder(learner, storage)
    loaded = load_decoder(other, quantised.data)
    latent = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
    assert torch.equal(loaded.decode(latent), quantised.learner.decode(latent))
    assert relative(loaded.decode(latent), learner.decode(latent)) < 0.03
    encoders = [
        {k: v for k, v in m.state_dict().items() if "encoder" in k} for m in (loaded, other)
    ]
    assert all(torch.equal(encoders[0][name], value) for name, value in encoders[1].items())
    if "int" not in storage:  # whose step is that of what is there
        assert quantise_decoder(loaded, storage).data == quantised.data


def test_the_learner_itself_is_left_as_it_was() -> None:
    learner = autoencoder()
    learner.metadata = {"task": 3}
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    quantised = quantise_decoder(learner)
    assert all(torch.equal(before[name], value) for name, value in learner.state_dict().items())
    assert quantised.learner.metadata == {"task": 3}


def test_integers_and_doubles_and_what_float16_does_not_hold() -> None:
    learner = Components(dtype=torch.float64)
    learner.mean *= 1e30
    after = quantise_decoder(learner, "int8").learner.state_dict()
    assert after["basis"].dtype == after["mean"].dtype == torch.float64
    for name in ("seen", "mean", "gain"):
        assert torch.equal(after[name], learner.state_dict()[name]), name


def test_damaged_bytes_and_other_learners_are_refused() -> None:
    data = quantise_decoder(autoencoder()).data
    turned = bytearray(data)
    turned[len(data) // 2] ^= 1
    for damaged in (b"", data[:-1], data[: len(data) // 2], data + b"x", bytes(turned)):
        with pytest.raises(ValueError, match="that are no decoder, or are damaged"):
            load_decoder(autoencoder(), damaged)
    with pytest.raises(ValueError, match="decoder of format 2; this version reads 1"):
        load_decoder(autoencoder(), seal(b"\2" + data[5:]))
    for other in (autoencoder(latent_size=5), autoencoder(channels=(8, 16, 16)), Components()):
        with pytest.raises(ValueError, match="the stored decoder is not that of this") as caught:
            load_decoder(other, data)
        assert "\n" not in str(caught.value)


def test_weights_that_diverged_are_named() -> None:
    learner = autoencoder()
    with torch.no_grad():
        learner.decoder.latent.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"decoder\.latent\.bias of AutoEncoder3D is not finite"):
        quantise_decoder(learner)
    with pytest.raises(ValueError, match="storage is 'int4'"):
        quantise_decoder(learner, "int4")
