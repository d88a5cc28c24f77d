"""The hybrid autoencoder: it starts at PCA's error, and no sample is ever worse than that."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from insituml.checkpoint import load_checkpoint
from insituml.data.task import Task
from insituml.methods import Naive
from insituml.models import HybridAutoEncoder
from insituml.models.hybrid_autoencoder import best_weight
from insituml.models.linear_path import LinearPath
from insituml.training import train

SHAPES = [(2, 16), (3, 7, 9), (2, 4, 8, 6)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fields(count: int, shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    """Samples whose principal components differ in strength."""
    generator, numbers = seeded(seed), math.prod(shape)
    mixed = torch.randn(12, numbers, generator=seeded(9)) * 0.7 ** torch.arange(12)[:, None]
    rows = torch.randn(count, 12, generator=generator) @ mixed
    return (rows + 0.05 * torch.randn(count, numbers, generator=generator)).view(count, *shape)


def disturbed(model: HybridAutoEncoder) -> HybridAutoEncoder:
    """Give the networks weights that make them say something, right or wrong."""
    generator = seeded(5)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model


@pytest.mark.parametrize("encoder", ["linear", "corrected"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_first_loss_is_that_of_pca(shape, weighted: bool, encoder: str) -> None:
    model = HybridAutoEncoder(shape, (4, 6), 5 + weighted, encoder, 8, weighted)
    x = fields(40, shape)
    for part in x.split(7):
        model.observe((part,))
    rows = x.flatten(1).double().numpy()
    _, _, right = np.linalg.svd(rows, full_matrices=False)
    expected = np.square(rows - rows @ right[:5].T @ right[:5]).mean()
    for mode in (True, False):
        assert model.train(mode).loss((x,)).item() == pytest.approx(expected, rel=1e-3)
    latent, decoded, _ = model(x)
    assert (latent.shape, decoded.shape) == ((40, 5 + weighted), x.shape)
    assert torch.equal(model.encode(x), latent)
    torch.testing.assert_close(model.decode(latent), decoded)


def test_before_anything_is_observed_it_reconstructs_zero_and_can_learn() -> None:
    model = HybridAutoEncoder((1, 8, 8), (4,), 4)
    x = fields(3, (1, 8, 8))
    assert not model(x)[1].any()
    model.loss((x,)).backward()
    assert model.refinement.last.weight.grad is not None


@pytest.mark.parametrize("encoder", ["linear", "corrected"])
def test_no_sample_is_worse_than_its_linear_path(encoder: str) -> None:
    model = HybridAutoEncoder((2, 8, 6), (4, 6), 6, encoder)
    x = fields(60, (2, 8, 6))
    model.observe((x,))
    disturbed(model).eval()
    if encoder == "corrected":  # its own linear path projects what was corrected
        linear = model.linear_reconstruction(x + model.correction(x))
    else:
        linear = model.linear_reconstruction(x)
    of_linear = (linear - x).square().flatten(1).mean(1)
    own = model.errors((x,))["mse"]
    assert (own <= of_linear * (1 + 1e-6)).all()
    assert (own < 0.999 * of_linear).any()  # and it is no empty promise: the weight is used
    weights = model.encode(x)[:, -1]
    assert (weights == 0).any()
    assert (weights > 0).any()
    unweighted = model.train().loss((x,)).item()
    assert unweighted > of_linear.mean()


def test_best_weight_is_the_minimum_on_a_grid() -> None:
    missing, refined = fields(20, (1, 4, 5), 3), fields(20, (1, 4, 5), 4)
    refined[0] = 0
    grid = torch.linspace(0, 1, 1001)[:, None, None, None, None]
    errors = (missing - grid * refined).square().flatten(2).sum(2)
    found = best_weight(missing, refined)
    reached = (missing - found.view(-1, 1, 1, 1) * refined).square().flatten(1).sum(1)
    assert (reached <= errors.amin(0) * (1 + 1e-5)).all()
    assert found[0] == 0


def test_latents_have_unit_deviation_and_are_not_blown_up() -> None:
    path = LinearPath((2, 9), 4)
    x = fields(200, (2, 9))
    path.observe(x)
    torch.testing.assert_close(path.encode(x).square().mean(0), torch.ones(4), rtol=0.01, atol=0)
    of_one = LinearPath((2, 9), 4)
    of_one.observe(x[:1].expand(3, 2, 9))  # a single direction
    latent = of_one.encode(x)
    assert latent.isfinite().all()
    torch.testing.assert_close(of_one.decode(of_one.encode(x[:1])), x[:1])


def test_an_unchanged_span_leaves_every_latent_as_it_was() -> None:
    path = LinearPath((1, 6, 6), 3)
    rows = torch.randn(3, 36, generator=seeded(0))
    mix = torch.randn(50, 3, generator=seeded(1)) * torch.tensor([3.0, 2.0, 1.0])
    x = (mix @ rows).view(-1, 1, 6, 6)
    path.observe(x)
    before = path.encode(x) * path.deviations
    # The same span with other strengths, so that other directions are the strongest in it.
    path.observe((mix.flip(1) * torch.tensor([1.0, 5.0, 30.0]) @ rows).view(-1, 1, 6, 6))
    torch.testing.assert_close(path.encode(x) * path.deviations, before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(path.decode(path.encode(x)), x, rtol=1e-3, atol=1e-3)


def test_training_goes_below_the_linear_path_and_a_checkpoint_holds_it_all(tmp_path) -> None:
    model = HybridAutoEncoder((1, 8, 8), (8, 16), 4, generator=seeded(1))
    grid = torch.linspace(0, 1, 8)
    centres = torch.rand(120, 2, 1, generator=seeded(2))
    bumps = (-(((grid - centres) / 0.15) ** 2)).exp()
    x = (bumps[:, 0, :, None] * bumps[:, 1, None, :])[:, None]
    task = Task(0, "bumps", (x,), (x,))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    list(
        train(
            model, Naive(generator=seeded(0)), [task], optimizer,
            epochs=30, batch_size=12, generator=seeded(3),
        )
    )  # fmt: skip
    model.eval()
    linear = (model.linear_reconstruction(x) - x).square().mean()
    assert model.loss((x,)).item() < 0.5 * linear.item()
    again = load_checkpoint(model.save_checkpoint(tmp_path, "hybrid", 0))
    assert torch.equal(again(x)[1], model(x)[1])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_shape": (3,)}, "one to three grid sizes"),
        ({"channels": ()}, "channels is empty"),
        ({"encoder": "cubic"}, "expected linear or corrected"),
        ({"latent_size": 1}, "expected 2 or more"),
        ({"latent_size": 66}, "components of samples of 64 numbers"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HybridAutoEncoder(**{"input_shape": (1, 8, 8), **options})


@pytest.mark.parametrize("encoder", ["linear", "corrected"])
def test_what_decoding_needs_is_enough_without_directions_that_are_only_followed(encoder) -> None:
    shape = (2, 8, 6)
    model, other = (HybridAutoEncoder(shape, (4, 6), 4, encoder, 8) for _ in range(2))
    x = fields(30, shape)
    for part in x.split(10):
        model.observe((part,))
    disturbed(model)
    state = model.decoder_state()
    assert bool((state["linear.basis"][3:] == 0).all())
    other.load_state_dict({**other.state_dict(), **state})
    latent = torch.randn(6, 4, generator=seeded(3))
    torch.testing.assert_close(other.decode(latent), model.decode(latent))


def test_a_symmetry_of_the_samples_is_one_of_their_reconstructions() -> None:
    """The correction is the projection of what an unconstrained twin adds."""
    shape, signs = (2, 6, 8), torch.tensor([1.0, -1.0]).view(2, 1, 1)

    def image(x: torch.Tensor) -> torch.Tensor:
        return x.flip(2) * signs

    x = fields(40, shape)
    x = x + image(x)
    models = [HybridAutoEncoder(shape, (4, 6), 6, symmetry=s) for s in (None, {0: (1, -1)})]
    for model in models:
        model.observe((x,))
        disturbed(model).train()
    free, bound = (model(x)[1] - model.linear_reconstruction(x) for model in models)
    torch.testing.assert_close(bound, (free + image(free)) / 2)
    assert (free - image(free)).abs().mean() > 0.01
    for model in models:  # whatever is known, no symmetric sample gets worse by it
        model.eval()
    errors = [model.errors((x,))["mse"].mean() for model in models]
    assert errors[1] <= errors[0]


@pytest.mark.parametrize("symmetry", [{2: (1, -1)}, {-1: (1, 1)}, {0: (1,)}, {0: (1, 0)}])
def test_a_symmetry_of_another_grid_is_refused(symmetry) -> None:
    with pytest.raises(ValueError, match="grid axis from 0 to 1, and 1 or -1 for each of 2"):
        HybridAutoEncoder((2, 6, 8), (4,), 6, symmetry=symmetry)
