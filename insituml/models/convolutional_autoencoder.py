"""A fully convolutional autoencoder: its latent is a field on a coarser grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from insituml.models.convolution import CONVOLUTIONS
from insituml.models.encoder_decoder import EncoderDecoder
from insituml.models.residual import (
    NORMALISATIONS,
    ResidualBlock,
    cropped,
    doubling,
    halving,
    padded,
    start_as_identity,
)


class ConvolutionalAutoEncoder(EncoderDecoder):
    """Residual blocks on grids that are halved, a few channels on the coarsest, and back.

    There is no dense layer: the number of parameters does not depend on the grid, and a model that
    was trained on chunks encodes whole volumes. Grids that ``2**len(channels)`` does not divide
    are continued by the values at their far edges, and cut off again.

    Parameters
    ----------
    input_shape
        ``(components, *grid)`` of one sample; one, two or three axes. Other grids work as well.
    channels
        Of each level; each halves the grid.
    latent_channels
        Of the latent, ``(n, latent_channels, *coarsest grid)``.
    normalisation
        In the blocks: ``"layer"``, over the channels of each point, or ``"none"``.
    loss
        Reconstruction loss; see :class:`~insituml.learner.ContinualLearner`.
    generator
        Source of the Xavier-uniform initial weights; None: seed 0.

    Raises
    ------
    ValueError
        If an option is unknown, or there is no level or no axis.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int] = (24, 48, 96),
        latent_channels: int = 2,
        normalisation: str = "none",
        *,
        loss: str = "mse",
        generator: torch.Generator | None = None,
    ) -> None:
        dimensions = check_field(input_shape, channels, type(self).__name__)
        if normalisation not in NORMALISATIONS:
            raise ValueError(
                f"normalisation is {normalisation!r}; expected {' or '.join(NORMALISATIONS)}"
            )
        if latent_channels < 1:
            raise ValueError(f"latent_channels is {latent_channels}; expected 1 or more")
        self.grid = tuple(input_shape[1:])
        self.multiple = 2 ** len(channels)

        def build() -> tuple[nn.Module, nn.Module]:
            return (
                _Encoder(dimensions, input_shape[0], channels, latent_channels, normalisation),
                _Decoder(dimensions, input_shape[0], channels, latent_channels, normalisation),
            )

        super().__init__(build, loss=loss, generator=generator)
        start_as_identity(self)

    def decode(self, latent: Tensor) -> Tensor:
        """Map latents ``(n, latent_channels, *coarse)`` to fields.

        Cut to the grid of ``input_shape`` where the latents are of such samples; those of another
        grid give whole multiples of the coarsest grid's points.
        """
        return self._cut(super().decode(latent), self.grid)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, None]:
        encoded, _ = self._encode(x)
        return encoded, cropped(self._decode(encoded, None), x.shape[2:]), None

    def segments(self) -> list[nn.Module]:
        """Return the residual blocks: the most is kept in them."""
        return [part for part in self.modules() if isinstance(part, ResidualBlock)]

    def _encode(self, x: Tensor) -> tuple[Tensor, None]:
        return super()._encode(padded(x, self.multiple))[0], None

    def _cut(self, x: Tensor, grid: Sequence[int]) -> Tensor:
        whole = tuple(size + -size % self.multiple for size in grid)
        return cropped(x, grid) if tuple(x.shape[2:]) == whole else x


def check_field(input_shape: Sequence[int], channels: Sequence[int], name: str) -> int:
    """Return the number of axes of a field's samples.

    Raises
    ------
    ValueError
        If these are no such samples, or there is no level.
    """
    dimensions = len(input_shape) - 1
    if not 1 <= dimensions <= 3:
        raise ValueError(
            f"input_shape is {tuple(input_shape)}; {name} expects the components, then one to "
            "three grid sizes (for samples without a grid choose model=mlp)"
        )
    if not channels:
        raise ValueError("channels is empty; expected the channels of at least one level")
    return dimensions


class _Encoder(nn.Module):
    def __init__(
        self,
        dimensions: int,
        components: int,
        channels: Sequence[int],
        latent_channels: int,
        normalisation: str,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise([components, *channels]):
            layers.append(halving(dimensions, before, after))
            layers.append(ResidualBlock(dimensions, after, normalisation))
        conv = CONVOLUTIONS[dimensions]
        layers += [conv(channels[-1], channels[-1], 3, padding=1), nn.GELU()]
        layers.append(conv(channels[-1], latent_channels, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.layers(x), None


class _Decoder(nn.Module):
    def __init__(
        self,
        dimensions: int,
        components: int,
        channels: Sequence[int],
        latent_channels: int,
        normalisation: str,
    ) -> None:
        super().__init__()
        conv = CONVOLUTIONS[dimensions]
        layers: list[nn.Module] = [conv(latent_channels, channels[-1], 3, padding=1)]
        layers.append(ResidualBlock(dimensions, channels[-1], normalisation))
        for fine, coarse in reversed(list(pairwise(channels))):
            layers.append(ResidualBlock(dimensions, coarse, normalisation))
            layers.append(doubling(dimensions, coarse, fine))
        layers.append(ResidualBlock(dimensions, channels[0], normalisation))
        layers.append(doubling(dimensions, channels[0], components))
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor, indices: None) -> Tensor:
        return self.layers(latent)
