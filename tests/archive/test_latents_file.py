"""Latents as bytes: what comes back is what was stored, to the bit, or it is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from insituml.archive import FieldLatents, pack_latents, unpack_latents
from insituml.archive.latents import quantised
from insituml.archive.quantisation import int8_scale
from insituml.archive.sealed import seal

STORAGES = ("float32", "float16", "int8")
each_storage = pytest.mark.parametrize("storage", STORAGES)


def latents(*latent: int, seed: int = 0, task: int = 3) -> FieldLatents:
    size = 10.0 ** np.linspace(-3, 3, latent[0]) if latent else 1.0
    values = np.random.default_rng(seed).normal(size=(24, *latent))
    if latent:
        values *= np.reshape(size, (-1, *(1,) * (len(latent) - 1)))
    return FieldLatents(torch.from_numpy(values).float(), (9, 7, 5), task)


def same(one: FieldLatents, other: FieldLatents) -> bool:
    scales = [s if s is None else s.tolist() for s in (one.scale, other.scale)]
    return (
        torch.equal(one.values, other.values)
        and one.values.dtype == other.values.dtype
        and (one.shape, one.task, one.storage) == (other.shape, other.task, other.storage)
        and scales[0] == scales[1]
    )


@each_storage
@pytest.mark.parametrize("latent", [(), (1,), (32,), (3, 2, 4, 2)])
def test_quantised_latents_come_back_exactly(storage: str, latent: tuple[int, ...]) -> None:
    stored = quantised(latents(*latent), storage)
    data = pack_latents([stored])
    (back,) = unpack_latents(data)
    assert same(back, stored)
    if storage == "float32":
        assert torch.equal(back.values, latents(*latent).values)


@each_storage
def test_several_fields_share_a_scale_that_is_stored_once(storage: str) -> None:
    raw_latents = [latents(32, seed=seed) for seed in range(5)]
    scale = int8_scale(torch.cat([field.values for field in raw_latents]))
    given = scale if storage == "int8" else None
    fields = [quantised(field, storage, given) for field in raw_latents]
    data = pack_latents(fields)
    assert all(same(a, b) for a, b in zip(unpack_latents(data), fields, strict=True))
    assert len(data) < sum(len(pack_latents([field])) for field in fields)


def test_errors_are_half_a_step_of_each_latent() -> None:
    exact = latents(32)
    stored = quantised(exact, "int8")
    assert stored.scale is not None
    difference = (stored.values - exact.values).abs().amax(dim=0)
    assert bool((difference <= 0.5001 * stored.scale).all())
    half = quantised(exact, "float16").values
    assert torch.equal(half, exact.values.half().float())


def test_fewer_bits_take_fewer_bytes() -> None:
    sizes = [len(pack_latents([quantised(latents(64), storage)])) for storage in STORAGES]
    numbers = 24 * 64
    assert 4 * numbers > sizes[0] > sizes[1]
    assert 2 * numbers + 50 > sizes[1] > sizes[2]
    assert numbers > sizes[2] - 2 * 64 - 50  # the steps, and what is said of the field


@each_storage
def test_damaged_bytes_are_refused_with_one_line(storage: str) -> None:
    data = pack_latents([quantised(latents(8), storage)])
    turned = bytearray(data)
    turned[-5] ^= 16
    for damaged in (b"", data[:3], data[: len(data) // 2], data[:-1], data + b"x", bytes(turned)):
        with pytest.raises(ValueError, match="that are no latents, or are damaged") as caught:
            unpack_latents(damaged)
        assert "\n" not in str(caught.value)


def test_another_version_is_named() -> None:
    data = pack_latents([latents(8)])
    with pytest.raises(ValueError, match="latents of format 2; this version reads 1"):
        unpack_latents(seal(b"\2" + data[5:]))


def test_fields_that_are_not_alike_and_numbers_that_are_none_are_refused() -> None:
    first = quantised(latents(4), "int8")
    others = [replace(first, task=1), replace(first, shape=(9, 7, 4)), latents(4)]
    assert first.scale is not None
    others.append(quantised(latents(4), "int8", 2 * first.scale))
    for other in others:
        with pytest.raises(ValueError, match="field 1 is of"):
            pack_latents([first, other])
    with pytest.raises(ValueError, match="no latents to pack"):
        pack_latents([])
    with pytest.raises(ValueError, match="without a scale"):
        pack_latents([replace(first, scale=None)])
    with pytest.raises(ValueError, match="values arrived that are none of int8"):
        pack_latents([replace(first, values=first.values * 0.999)])
    for storage in ("float16", "float32"):
        wrong = replace(first, values=first.values.double() + 1e-9, storage=storage, scale=None)
        with pytest.raises(ValueError, match="would change them"):
            pack_latents([wrong])
