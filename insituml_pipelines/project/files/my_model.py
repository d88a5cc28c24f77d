"""A model of your own: `model=my_model` chooses it; its values: conf/model/my_model.yaml."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from insituml import ContinualLearner


class MyModel(ContinualLearner):
    """A linear encoder with a small network beside it, and the same back.

    Whatever defines ``encode`` and ``decode`` can be trained by every method, evaluated, and stored
    in checkpoints. What decodes lies below ``self.decoder``.

    Parameters
    ----------
    input_shape
        Shape of one sample, ``(components, points along each axis)``; known from the split data.
    latent_size
        Numbers that a sample is encoded to.
    hidden_size
        Width of the network.
    loss
        ``"mse"``, ``"l1"`` or ``"l1_ssim"``.
    generator
        Source of the initial weights; None: seed 0.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        latent_size: int = 16,
        hidden_size: int = 64,
        *,
        loss: str = "mse",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(loss=loss)
        self.shape = tuple(input_shape)
        numbers = math.prod(self.shape)
        self.encoder = LinearAndNetwork(numbers, hidden_size, latent_size)
        self.decoder = LinearAndNetwork(latent_size, hidden_size, numbers)
        draws = torch.Generator().manual_seed(0) if generator is None else generator
        for parameter in self.parameters():  # the same seed gives the same weights
            with torch.no_grad():
                if parameter.dim() == 2:
                    nn.init.xavier_uniform_(parameter, generator=draws)
                else:
                    parameter.zero_()

    def encode(self, x: Tensor) -> Tensor:
        """Map samples ``(n, *input_shape)`` to latents ``(n, latent_size)``."""
        return self.encoder(x.flatten(start_dim=1))

    def decode(self, latent: Tensor) -> Tensor:
        """Map latents ``(n, latent_size)`` to samples ``(n, *input_shape)``."""
        return self.decoder(latent).unflatten(1, self.shape)


class LinearAndNetwork(nn.Module):
    """``W x + b + V tanh(U x + c)``: a linear map, which a network corrects."""

    def __init__(self, numbers_in: int, hidden_size: int, numbers_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(numbers_in, numbers_out)
        self.hidden = nn.Linear(numbers_in, hidden_size)
        self.correction = nn.Linear(hidden_size, numbers_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.correction(torch.tanh(self.hidden(x)))
