"""The learner whose basis follows what it observes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from insituml import load_checkpoint
from insituml.models import PrincipalComponents


def samples(shape: tuple[int, ...], count: int = 40, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    numbers = int(np.prod(shape))
    spread = torch.exp(-0.3 * torch.arange(numbers))
    mixing = torch.linalg.qr(torch.randn(numbers, numbers, generator=generator))[0]
    rows = (torch.randn(count, numbers, generator=generator) * spread) @ mixing
    return rows.reshape(count, *shape)


def learned(shape: tuple[int, ...], x: torch.Tensor, size: int | None, block: int = 8):
    learner = PrincipalComponents(shape, size)
    for part in x.split(block):
        learner.observe((part,))
    return learner


@pytest.mark.parametrize("shape", [(6,), (1, 4, 5), (3, 2, 3, 2), (2, 7)])
def test_the_error_is_that_of_principal_components_of_all_samples(shape: tuple[int, ...]) -> None:
    x, size = samples(shape), 3
    learner = learned(shape, x, size)
    rows = x.flatten(1).double().numpy()
    right = np.linalg.svd(rows, full_matrices=False)[2][:size]
    best = np.square(rows - rows @ right.T @ right).mean()
    encoded, decoded, _ = learner(x)
    assert encoded.shape == (len(x), size)
    assert decoded.shape == x.shape
    assert best <= float(learner.loss((x,))) <= best + float(learner.discarded) / x.numel() + 1e-7
    np.testing.assert_allclose(
        decoded.flatten(1) @ learner.basis.T, encoded, atol=1e-5
    )  # a projection: nothing more is lost when it is done again


def test_nothing_observed_is_reconstructed_as_zero() -> None:
    learner = PrincipalComponents((2, 3))
    x = samples((2, 3))
    assert not learner(x)[1].any()
    assert learner.errors((x,))["mse"].mean() == pytest.approx(float(x.square().mean()))
    assert learner.latent_size == 6  # no more than there are numbers


def test_more_components_than_numbers_hold_all() -> None:
    x = samples((5,))
    learner = learned((5,), x, 64)
    torch.testing.assert_close(learner(x)[1], x, atol=1e-5, rtol=0)


def test_latents_of_a_span_that_stays_do_not_move() -> None:
    x = samples((30,), 60)
    x = x.flatten(1)[:, :30] @ torch.diag(torch.tensor([1.0] * 4 + [0.0] * 26))
    learner = learned((30,), x[:20], 4)
    before, sign = learner.encode(x), learner.singular_basis[:4] @ learner.basis.T
    learner.observe((x[20:40] * torch.tensor([1.0] * 2 + [9.0] * 28),))  # other strengths
    torch.testing.assert_close(learner.encode(x), before, atol=1e-4, rtol=0)
    assert not torch.allclose(learner.singular_basis[:4] @ learner.basis.T, sign, atol=0.1)


def test_a_checkpoint_goes_on_bit_for_bit(tmp_path: Path) -> None:
    x = samples((3, 4), 48)
    whole = learned((3, 4), x, 3)
    file = learned((3, 4), x[:24], 3).save_checkpoint(tmp_path, "pca", 0)
    again = load_checkpoint(file)
    assert not any(p.requires_grad for p in again.parameters())
    for part in x[24:].split(8):
        again.observe((part,))
    for key, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_decoding_needs_the_basis_alone() -> None:
    learner = PrincipalComponents((4,), 2)
    assert learner.decoder_entries() == ["basis"]
    assert learner.singular_basis.shape == (4, 4)
    assert PrincipalComponents((40,), 2, 3).singular_basis.shape == (5, 40)


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="components 0"):
        PrincipalComponents((4,), 0)
