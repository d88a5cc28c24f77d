"""What a latent's change does, against a decoder of which it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from insituml.archive.quantisation import int8_scale, to_int8
from insituml.archive.sensitivity import latent_sensitivity
from insituml.learner import ContinualLearner


class Stretched(ContinualLearner):
    """Orthogonal directions, each stretched by its own factor."""

    def __init__(self, factors: list[float]) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        rows = torch.linalg.qr(torch.randn(50, len(factors), generator=random)).Q.T
        self.rows = torch.nn.Parameter(rows * torch.tensor(factors)[:, None])

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nk...,kd->nd...", latent, self.rows)


def latents(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def found(learner: ContinualLearner, z: torch.Tensor) -> torch.Tensor:
    return latent_sensitivity(learner, z, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("grid", [(), (2, 3)])
def test_it_is_the_factor_of_each_direction(grid: tuple[int, ...]) -> None:
    factors = [3.0, 1.0, 0.02]
    np.testing.assert_allclose(found(Stretched(factors), latents(40, 3, *grid)), factors, rtol=1e-3)


def test_what_does_nothing_keeps_a_thousandth() -> None:
    np.testing.assert_allclose(found(Stretched([2.0, 0.0]), latents(40, 2)), [2.0, 2e-3], rtol=1e-3)
    with pytest.raises(ValueError, match="no latent of this Stretched changes"):
        found(Stretched([0.0, 0.0]), latents(40, 2))


def test_the_scale_of_a_latent_is_not_what_it_does() -> None:
    """Whatever unit latents are in, rounding by these steps does the same to the field."""
    learner, scaled = Stretched([3.0, 0.5]), Stretched([0.3, 50.0])
    z = latents(400, 2)
    other = z * torch.tensor([10.0, 0.01])
    fields = []
    for model, values in ((learner, z), (scaled, other)):
        steps = int8_scale(values, levels=20, sensitivity=found(model, values))
        fields.append(model.decode(to_int8(values, steps) * steps).detach())
        error = float((fields[-1] - model.decode(values).detach()).norm()) / 800**0.5
        largest = max(float(z[:, 0].abs().max()) * 3.0, float(z[:, 1].abs().max()) * 0.5)
        np.testing.assert_allclose(error, largest / 20 / 12**0.5, rtol=0.1)
