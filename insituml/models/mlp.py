"""Fully connected autoencoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from insituml.models.encoder_decoder import EncoderDecoder
from insituml.models.layers import activation as activation_layer


class MLP(EncoderDecoder):
    """Fully connected encoder, latent, and the mirrored decoder.

    Parameters
    ----------
    input_shape
        Shape of one sample, or its number of features.
    hidden_sizes
        Widths of the encoder's layers; the decoder mirrors them.
    latent_size
        Width of the latent.
    activation
        ``"tanh"``, ``"leaky_relu"`` or ``"relu"``.
    loss
        Reconstruction loss; see :class:`~insituml.learner.ContinualLearner`.
    generator
        Source of the Xavier-uniform initial weights; None: seed 0.
    """

    def __init__(
        self,
        input_shape: Sequence[int] | int,
        hidden_sizes: Sequence[int] = (64, 64),
        latent_size: int = 16,
        activation: str = "leaky_relu",
        *,
        loss: str = "mse",
        generator: torch.Generator | None = None,
    ) -> None:
        shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
        widths = [math.prod(shape), *hidden_sizes, latent_size]
        super().__init__(
            lambda: (
                _Encoder(widths, activation),
                _Decoder(widths[::-1], activation, shape),
            ),
            loss=loss,
            generator=generator,
        )

    def segments(self) -> list[nn.Module]:
        """Return encoder and decoder."""
        return [self.encoder, self.decoder]


class _Encoder(nn.Module):
    def __init__(self, widths: Sequence[int], activation: str) -> None:
        super().__init__()
        self.layers = _stack(widths, activation)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.layers(x.flatten(start_dim=1)), None


class _Decoder(nn.Module):
    def __init__(self, widths: Sequence[int], activation: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = _stack(widths, activation)
        self.shape = shape

    def forward(self, latent: Tensor, indices: None) -> Tensor:
        flat = self.layers(latent)
        return flat if len(self.shape) == 1 else flat.unflatten(1, self.shape)


def _stack(widths: Sequence[int], activation: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation_layer(activation)]
    return nn.Sequential(*layers[:-1])
